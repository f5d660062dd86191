//! In which order and when the bytes of two streams come, and when each of them was first seen.

use std::ops::Range;

use proptest::prelude::*;

/// One turn of a schedule: who sends, how much, and what TCP makes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) server: bool,
    pub(crate) length: usize,
    /// What comes a second time with it or after it.
    pub(crate) disturbance: Disturbance,
    /// Time before it, ns.
    pub(crate) pause: u64,
}

/// What happens to a segment on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Disturbance {
    None,
    /// It begins so far back in what has come before.
    Overlap(usize),
    /// Another one, that ends so far back, comes again after it.
    Repeat(usize),
    /// What begins so far behind its first byte overtakes what is before that: in the client's packets anywhere,
    /// in the server's, which nobody keeps, in a body.
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

/// Cuts the bytes from `at` to `limit` of a stream as this turn says: ranges in order of arrival, and
/// how far the stream is known then.
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

/// When each byte of a stream was first seen, in terms of how far the stream was known at what time.
#[derive(Debug, Default)]
pub(crate) struct Seen(Vec<(usize, u64)>);

impl Seen {
    /// The stream is known up to `end`.
    pub(crate) fn up_to(&mut self, end: usize, now: u64) {
        self.0.push((end, now));
    }

    /// When its byte `at` was first seen.
    pub(crate) fn at(&self, at: usize) -> u64 {
        let (_, now) = self
            .0
            .iter()
            .find(|(end, _)| at < *end)
            .expect("all bytes are sent");
        *now
    }
}
