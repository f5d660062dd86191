//! The order and the times at which the bytes of two streams arrive, and the time at which each byte arrived first.

use std::ops::Range;

use proptest::prelude::*;

/// One turn of a conversation: which side sends, how many bytes, and what the network does to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) server: bool,
    pub(crate) length: usize,
    /// What the network does to the segment.
    pub(crate) disturbance: Disturbance,
    /// Time that passes before the turn, ns.
    pub(crate) pause: u64,
}

/// The effect of the network on a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disturbance {
    None,
    /// The segment begins this many bytes before the new data.
    Overlap(usize),
    /// After the segment, earlier bytes are retransmitted. The retransmission ends this many bytes before the segment's
    /// end.
    Repeat(usize),
    /// The bytes from this offset on arrive before the bytes in front of them. In the client's stream, this happens
    /// anywhere. In the server's stream, it happens only inside a body, because the server's packets are not buffered.
    Overtake(usize),
}

pub(crate) fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let length = prop_oneof![1..4usize, 1..80usize, 150..300usize, 1000..3000usize];
    let disturbance = prop_oneof![
        4 => Just(Disturbance::None),
        1 => (1..200usize).prop_map(Disturbance::Overlap),
        1 => (0..200usize).prop_map(Disturbance::Repeat),
        2 => (1..200usize).prop_map(Disturbance::Overtake),
    ];
    let turn = (any::<bool>(), length, disturbance, 0..40_000_000u64).prop_map(
        |(server, length, disturbance, pause)| Turn {
            server,
            length,
            disturbance,
            pause,
        },
    );
    prop::collection::vec(turn, 1..40)
}

/// Returns the ranges of a stream that arrive in this turn, in order of arrival, and the position up to which all bytes
/// of the stream have arrived after this turn. The new bytes of the turn are between `at` and `limit`.
pub(crate) fn pieces(
    turn: Turn,
    at: usize,
    limit: usize,
    bodies: &[Range<usize>],
) -> (Vec<Range<usize>>, usize) {
    let end = limit.min(at + turn.length);
    let plain = at..end;
    let pieces = match turn.disturbance {
        Disturbance::None => vec![plain],
        Disturbance::Overlap(back) => {
            let overlapping = at.saturating_sub(back)..end;
            vec![overlapping]
        }
        Disturbance::Repeat(back) => {
            let last = end.saturating_sub(back);
            vec![plain, last.saturating_sub(turn.length)..last]
        }
        Disturbance::Overtake(ahead) => {
            let body = bodies.iter().find(|body| body.contains(&at));
            let gap_end = if turn.server {
                body.map(|body| body.end.min(at + ahead))
            } else {
                Some(at + ahead)
            };
            match gap_end {
                Some(gap_end) if gap_end < end => vec![gap_end..end, at..gap_end],
                _ => vec![plain],
            }
        }
    };
    (pieces, end)
}

/// The time at which each byte of a stream arrived first. Each pair holds the end position of a range, and the time
/// (ns) at which the range arrived.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<(usize, u64)>);

impl Seen {
    /// Records that all bytes before `end` have arrived at the time `now`.
    pub(crate) fn up_to(&mut self, end: usize, now: u64) {
        self.0.push((end, now));
    }

    /// Returns the time at which byte `at` arrived first.
    pub(crate) fn at(&self, at: usize) -> u64 {
        let (_, now) = self
            .0
            .iter()
            .find(|(end, _)| at < *end)
            .expect("all bytes are sent");
        *now
    }
}
