//! A conversation written by hand, with the counts that are expected after each of its messages.

use std::{fmt::Debug, ops::Range};

use ebb_abi::ended;
use ebb_parser::direction::{Segment, Side};

use crate::{
    ledger::Figures,
    segments::{Piece, cut},
    wire::Wire,
};

/// Time between two messages, ns. All segments of a message arrive at the same time. So the integral of requests in
/// flight over time, and the latencies, must not depend on how the message is cut.
const PAUSE: u64 = 3_000_000;

/// Sequence numbers of the first byte from the client and of the first byte to the client. Both sequence numbers wrap
/// in most exchanges.
const FIRST: [u32; 2] = [u32::MAX - 30, u32::MAX - 50];

enum Event {
    /// A message of one side arrives: the bytes in this range of the side's stream.
    Message(Side, Range<usize>),
    /// A message of one side arrives in one segment, also if other messages are cut.
    Segment(Side, Range<usize>),
    /// The expected number of requests in flight, and the expected values of the gauges: HTTP/2, upgraded, opaque.
    Flying(u64, [u64; 3]),
    /// The server sends a FIN.
    Fin,
}

/// A conversation. After its last event the connection closes.
pub struct Exchange {
    /// Name of the conversation, for messages about failures.
    pub name: &'static str,
    events: Vec<Event>,
    streams: [Vec<u8>; 2],
    ended: Option<[u64; ended::WAYS]>,
}

/// Returns a new conversation without messages.
pub fn exchange(name: &'static str) -> Exchange {
    Exchange {
        name,
        events: Vec::new(),
        streams: [Vec::new(), Vec::new()],
        ended: Some([0; ended::WAYS]),
    }
}

/// A function that cuts a message. Its arguments are the side that sends the message, and the message's range in the
/// stream of that side. It returns the ranges of the stream that arrive, in the order of arrival. The ranges may reach
/// back into earlier messages.
pub type Cut<'a> = &'a mut dyn FnMut(Side, Range<usize>) -> Vec<Range<usize>>;

impl Exchange {
    /// Adds an event: one side sends these bytes.
    pub fn message(mut self, side: Side, bytes: impl AsRef<[u8]>) -> Self {
        let range = self.extend(side, bytes.as_ref());
        self.events.push(Event::Message(side, range));
        self
    }

    /// Appends bytes to the stream of one side. Returns their range.
    fn extend(&mut self, side: Side, bytes: &[u8]) -> Range<usize> {
        let stream = &mut self.streams[side as usize];
        let start = stream.len();
        stream.extend_from_slice(bytes);
        start..stream.len()
    }

    /// Adds an event: one side sends these bytes in one segment. On an opaque connection, a message is recognised only
    /// at the beginning of a segment.
    pub fn segment(mut self, side: Side, bytes: impl AsRef<[u8]>) -> Self {
        let range = self.extend(side, bytes.as_ref());
        self.events.push(Event::Segment(side, range));
        self
    }

    /// Adds an event: the client sends these bytes.
    pub fn client(self, bytes: impl AsRef<[u8]>) -> Self {
        self.message(Side::Requests, bytes)
    }

    /// Adds an event: the server sends these bytes.
    pub fn server(self, bytes: impl AsRef<[u8]>) -> Self {
        self.message(Side::Responses, bytes)
    }

    /// Adds an event: the server sends a FIN.
    pub fn fin(mut self) -> Self {
        self.events.push(Event::Fin);
        self
    }

    fn check(mut self, count: u64, gauges: [u64; 3]) -> Self {
        self.events.push(Event::Flying(count, gauges));
        self
    }

    /// Adds a check: at this point, `count` HTTP/1 requests must be in flight.
    pub fn flying(self, count: u64) -> Self {
        self.check(count, [0; 3])
    }

    /// Adds a check: at this point, `count` HTTP/2 streams must be in flight.
    pub fn streams(self, count: u64) -> Self {
        self.check(count, [count, 0, 0])
    }

    /// Adds a check: at this point, the connection must be a tunnel, which counts as one request in flight.
    pub fn tunnel(self) -> Self {
        self.check(1, [0, 1, 0])
    }

    /// Adds a check: at this point, the connection must be opaque, and so counts as one request in flight.
    pub fn opaque(self) -> Self {
        self.check(1, [0, 0, 1])
    }

    /// Extends the check after the close of the connection: `count` more requests must have ended in this way.
    pub fn ended(mut self, way: usize, count: u64) -> Self {
        if let Some(ended) = &mut self.ended {
            ended[way] += count;
        }
        self
    }

    /// Removes the check after the close of the connection, because it is not known how the requests end.
    pub fn unjudged(mut self) -> Self {
        self.ended = None;
        self
    }

    /// Returns the messages that can be cut: for each one, the sender and the range in the sender's stream.
    pub fn messages(&self) -> impl Iterator<Item = (Side, Range<usize>)> {
        self.events.iter().filter_map(|event| match event {
            Event::Message(side, range) => Some((*side, range.clone())),
            Event::Segment(..) | Event::Flying(..) | Event::Fin => None,
        })
    }

    /// Returns all bytes that one side sends.
    pub fn stream(&self, side: Side) -> &[u8] {
        &self.streams[side as usize]
    }

    /// Plays the whole conversation with its messages cut by `cut`, and makes all checks. Returns the counts after the
    /// close. `how` describes the cut in a message about a failure.
    pub fn play(&self, how: &dyn Debug, cut: Cut<'_>) -> Figures {
        self.play_on(how, cut, false)
    }

    /// Plays the conversation like `play`, but delivers every two neighbouring pieces of the client at the same time,
    /// on two CPUs.
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
                Event::Segment(side, range) => {
                    wire.ledger.pass(PAUSE);
                    let bytes = &self.streams[*side as usize][range.clone()];
                    wire.deliver(*side, sequence(*side, range.start), bytes, 0);
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

    /// Plays the conversation with each message cut into these pieces.
    pub fn play_in(&self, pieces: &[Piece]) -> Figures {
        self.play(&pieces, &mut |_, message| cut(message, pieces))
    }

    /// Plays the conversation with each message in one segment.
    pub fn play_whole(&self) -> Figures {
        self.play_in(&[Piece::WHOLE])
    }
}
