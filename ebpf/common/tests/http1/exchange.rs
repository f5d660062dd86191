//! A conversation told by hand, and what is to be counted of it at every point.

use std::ops::Range;

use ebb_common::{abi::ended, direction::Segment, http1::Side};

use crate::{ledger::Figures, wire::Wire};

/// Time between two messages, ns. All of a message's segments come at one time, so that the integral
/// and the latencies, too, must be the same however it is cut.
const PAUSE: u64 = 3_000_000;

/// The sequence numbers of the first bytes: both wrap within most exchanges.
const FIRST: [u32; 2] = [u32::MAX - 30, u32::MAX - 50];

enum Event {
    /// These bytes of one direction's stream come.
    Message(Side, Range<usize>),
    /// There must be so many in flight, of which so many upgraded and opaque.
    Flying([u64; 3]),
    /// The server ends its side.
    Fin,
}

/// A conversation. Ends with the connection.
pub(crate) struct Exchange {
    pub(crate) name: &'static str,
    events: Vec<Event>,
    streams: [Vec<u8>; 2],
    ended: [u64; ended::WAYS],
}

pub(crate) fn exchange(name: &'static str) -> Exchange {
    Exchange {
        name,
        events: Vec::new(),
        streams: [Vec::new(), Vec::new()],
        ended: [0; ended::WAYS],
    }
}

/// How a message is cut: given the side it is from and where in that side's stream it lies, the ranges of the
/// stream that come, in this order. They may reach back into earlier messages.
pub(crate) type Cut<'a> = &'a mut dyn FnMut(Side, Range<usize>) -> Vec<Range<usize>>;

impl Exchange {
    fn message(mut self, side: Side, bytes: &[u8]) -> Self {
        let stream = &mut self.streams[side as usize];
        let start = stream.len();
        stream.extend_from_slice(bytes);
        self.events.push(Event::Message(side, start..stream.len()));
        self
    }

    /// The client sends this.
    pub(crate) fn client(self, bytes: impl AsRef<[u8]>) -> Self {
        self.message(Side::Requests, bytes.as_ref())
    }

    /// The server sends this.
    pub(crate) fn server(self, bytes: impl AsRef<[u8]>) -> Self {
        self.message(Side::Responses, bytes.as_ref())
    }

    /// The server says that this was all.
    pub(crate) fn fin(mut self) -> Self {
        self.events.push(Event::Fin);
        self
    }

    /// There must now be so many requests in flight.
    pub(crate) fn flying(mut self, count: u64) -> Self {
        self.events.push(Event::Flying([count, 0, 0]));
        self
    }

    /// The connection must now be a tunnel, one in flight.
    pub(crate) fn tunnel(mut self) -> Self {
        self.events.push(Event::Flying([1, 1, 0]));
        self
    }

    /// The connection must now be opaque, one in flight.
    pub(crate) fn opaque(mut self) -> Self {
        self.events.push(Event::Flying([1, 0, 1]));
        self
    }

    /// So many have ended this way, when the connection has closed.
    pub(crate) fn ended(mut self, way: usize, count: u64) -> Self {
        self.ended[way] += count;
        self
    }

    /// The messages: who sends, and which bytes of his stream.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (Side, Range<usize>)> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(side, range) => Some((*side, range.clone())),
            Event::Flying(_) | Event::Fin => None,
        })
    }

    /// Plays the whole conversation, cut like this, and checks all that is known of it. `how` says for
    /// a failure what the cut was.
    pub(crate) fn play(&self, how: &dyn std::fmt::Debug, cut: Cut<'_>) -> Figures {
        let mut wire = Wire::open(FIRST[0], FIRST[1]);
        let sequence = |side: Side, at: usize| FIRST[side as usize].wrapping_add(at as u32);
        for (index, event) in self.events.iter().enumerate() {
            match event {
                Event::Message(side, range) => {
                    wire.ledger.pass(PAUSE);
                    for piece in cut(*side, range.clone()) {
                        let bytes = &self.streams[*side as usize][piece.clone()];
                        wire.deliver(*side, sequence(*side, piece.start), bytes, 0);
                    }
                }
                Event::Flying(expected) => {
                    let figures = wire.figures();
                    let found = [figures.in_flight() as u64, figures.upgraded, figures.opaque];
                    assert_eq!(
                        found, *expected,
                        "{}, event {index}, {how:?}: {figures:?}",
                        self.name
                    );
                }
                Event::Fin => {
                    wire.ledger.pass(PAUSE);
                    let end = self.streams[Side::Responses as usize].len();
                    wire.deliver(
                        Side::Responses,
                        sequence(Side::Responses, end),
                        &[],
                        Segment::FIN,
                    );
                }
            }
        }
        wire.ledger.pass(PAUSE);
        wire.close();
        let figures = wire.figures();
        assert_eq!(
            figures.ended, self.ended,
            "{}, closed, {how:?}: {figures:?}",
            self.name
        );
        assert_eq!(
            figures.started,
            self.ended.iter().sum::<u64>(),
            "{}, closed, {how:?}",
            self.name
        );
        figures.clone()
    }

    /// Plays it with each message in one segment.
    pub(crate) fn play_whole(&self) -> Figures {
        self.play(&"whole", &mut |_, range| vec![range])
    }
}
