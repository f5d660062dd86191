//! A conversation told by hand, and what is to be counted of it at every point.

use std::{fmt::Debug, ops::Range};

use ebb_common::{
    abi::ended,
    direction::{Segment, Side},
};

use crate::{
    ledger::Figures,
    segments::{Piece, cut},
    wire::Wire,
};

/// Time between two messages, ns. All of a message's segments come at one time, so that the integral
/// and the latencies, too, must be the same however it is cut.
const PAUSE: u64 = 3_000_000;

/// The sequence numbers of the first bytes: both wrap within most exchanges.
const FIRST: [u32; 2] = [u32::MAX - 30, u32::MAX - 50];

enum Event {
    /// These bytes of one direction's stream come.
    Message(Side, Range<usize>),
    /// There must be so many in flight, and the gauges must read this.
    Flying(u64, [u64; 3]),
    /// The server ends its side.
    Fin,
}

/// A conversation. Ends with the connection.
pub struct Exchange {
    /// What it is about.
    pub name: &'static str,
    events: Vec<Event>,
    streams: [Vec<u8>; 2],
    ended: Option<[u64; ended::WAYS]>,
}

/// A conversation to be told.
pub fn exchange(name: &'static str) -> Exchange {
    Exchange {
        name,
        events: Vec::new(),
        streams: [Vec::new(), Vec::new()],
        ended: Some([0; ended::WAYS]),
    }
}

/// How a message is cut: given the side it is from and where in that side's stream it lies, the ranges of the
/// stream that come, in this order. They may reach back into earlier messages.
pub type Cut<'a> = &'a mut dyn FnMut(Side, Range<usize>) -> Vec<Range<usize>>;

impl Exchange {
    /// One side sends this.
    pub fn message(mut self, side: Side, bytes: impl AsRef<[u8]>) -> Self {
        let stream = &mut self.streams[side as usize];
        let start = stream.len();
        stream.extend_from_slice(bytes.as_ref());
        self.events.push(Event::Message(side, start..stream.len()));
        self
    }

    /// The client sends this.
    pub fn client(self, bytes: impl AsRef<[u8]>) -> Self {
        self.message(Side::Requests, bytes)
    }

    /// The server sends this.
    pub fn server(self, bytes: impl AsRef<[u8]>) -> Self {
        self.message(Side::Responses, bytes)
    }

    /// The server says that this was all.
    pub fn fin(mut self) -> Self {
        self.events.push(Event::Fin);
        self
    }

    fn check(mut self, count: u64, gauges: [u64; 3]) -> Self {
        self.events.push(Event::Flying(count, gauges));
        self
    }

    /// There must now be so many requests in flight on HTTP/1.
    pub fn flying(self, count: u64) -> Self {
        self.check(count, [0; 3])
    }

    /// There must now be so many streams in flight on HTTP/2.
    pub fn streams(self, count: u64) -> Self {
        self.check(count, [count, 0, 0])
    }

    /// The connection must now be a tunnel, one in flight.
    pub fn tunnel(self) -> Self {
        self.check(1, [0, 1, 0])
    }

    /// The connection must now be opaque, one in flight.
    pub fn opaque(self) -> Self {
        self.check(1, [0, 0, 1])
    }

    /// So many have ended this way, when the connection has closed.
    pub fn ended(mut self, way: usize, count: u64) -> Self {
        if let Some(ended) = &mut self.ended {
            ended[way] += count;
        }
        self
    }

    /// Nobody knows how its requests end.
    pub fn unjudged(mut self) -> Self {
        self.ended = None;
        self
    }

    /// The messages: who sends, and which bytes of his stream.
    pub fn messages(&self) -> impl Iterator<Item = (Side, Range<usize>)> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(side, range) => Some((*side, range.clone())),
            Event::Flying(..) | Event::Fin => None,
        })
    }

    /// All that one side says.
    pub fn stream(&self, side: Side) -> &[u8] {
        &self.streams[side as usize]
    }

    /// Plays the whole conversation, cut like this, and checks all that is known of it. `how` says for
    /// a failure what the cut was.
    pub fn play(&self, how: &dyn Debug, cut: Cut<'_>) -> Figures {
        self.play_on(how, cut, false)
    }

    /// The same, with each two neighbouring pieces of the client's shown at once, on two CPUs.
    pub fn play_at_once(&self, how: &dyn Debug, cut: Cut<'_>) -> Figures {
        self.play_on(how, cut, true)
    }

    fn play_on(&self, how: &dyn Debug, cut: Cut<'_>, at_once: bool) -> Figures {
        let mut wire = Wire::open(FIRST[0], FIRST[1]);
        let sequence = |side: Side, at: usize| FIRST[side as usize].wrapping_add(at as u32);
        for (index, event) in self.events.iter().enumerate() {
            match event {
                Event::Message(side, range) => {
                    wire.ledger.pass(PAUSE);
                    let stream = &self.streams[*side as usize];
                    let packet = |piece: &Range<usize>| {
                        (sequence(*side, piece.start), &stream[piece.clone()])
                    };
                    let at_once = at_once && *side == Side::Requests;
                    for pieces in cut(*side, range.clone()).chunks(if at_once { 2 } else { 1 }) {
                        match pieces {
                            [one, other] => wire.deliver_at_once(packet(one), packet(other)),
                            _ => pieces.iter().map(packet).for_each(|(first, bytes)| {
                                wire.deliver(*side, first, bytes, 0);
                            }),
                        }
                    }
                }
                Event::Flying(count, gauges) => {
                    let figures = wire.figures();
                    assert_eq!(
                        (figures.in_flight(), figures.gauges()),
                        (*count as i64, *gauges),
                        "{}, event {index}, {how:?}: {figures:?}",
                        self.name
                    );
                }
                Event::Fin => {
                    wire.ledger.pass(PAUSE);
                    let end = sequence(Side::Responses, self.stream(Side::Responses).len());
                    wire.deliver(Side::Responses, end, &[], Segment::FIN);
                }
            }
        }
        wire.ledger.pass(PAUSE);
        wire.close();
        let figures = wire.figures();
        if let Some(ended) = self.ended {
            assert_eq!(
                figures.ended, ended,
                "{}, closed, {how:?}: {figures:?}",
                self.name
            );
        }
        assert_eq!(
            figures.started,
            figures.ended.iter().sum::<u64>(),
            "{}, closed, {how:?}",
            self.name
        );
        figures.clone()
    }

    /// Plays it with each message cut into these pieces.
    pub fn play_in(&self, pieces: &[Piece]) -> Figures {
        self.play(&pieces, &mut |_, message| cut(message, pieces))
    }

    /// Plays it with each message in one segment.
    pub fn play_whole(&self) -> Figures {
        self.play_in(&[Piece::WHOLE])
    }
}
