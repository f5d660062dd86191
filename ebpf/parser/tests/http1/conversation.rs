//! Random conversations. The counts must be as expected, and the integral of requests in flight over time must be exact
//! to the nanosecond.

use std::ops::Range;

use ebb_abi::{ended, latency::bucket};
use ebb_parser::direction::{Segment, Side};
use ebb_parser_testing::{ledger::Figures, wire::Wire};
use proptest::prelude::*;

use crate::{
    schedule::{Seen, Turn, pieces, turns},
    shared::config,
    spoken::{Message, Spoken, conversation},
};

/// Maximum number of requests in flight on one connection for which latencies are known.
const REMEMBERED: usize = 4;

/// The messages of one direction, one after another.
struct Stream {
    bytes: Vec<u8>,
    /// Position of each message in `bytes`.
    messages: Vec<Range<usize>>,
    /// For each message, the end of its first head.
    head_ends: Vec<usize>,
    bodies: Vec<Range<usize>>,
}

impl Stream {
    fn of<'a>(messages: impl Iterator<Item = &'a Message>) -> Self {
        let mut stream = Self {
            bytes: Vec::new(),
            messages: Vec::new(),
            head_ends: Vec::new(),
            bodies: Vec::new(),
        };
        for message in messages {
            let start = stream.bytes.len();
            stream.bytes.extend(&message.bytes);
            stream.messages.push(start..stream.bytes.len());
            stream.head_ends.push(start + message.heads[0].end);
            stream.bodies.extend(
                message
                    .bodies
                    .iter()
                    .map(|body| body.start + start..body.end + start),
            );
        }
        stream
    }
}

/// Returns the expected counts. Each request lasts from the time at which its first byte arrived until the last byte of
/// its response arrived, or until the server's FIN if the FIN ends the response.
fn truth(spoken: &[Spoken], streams: &[Stream; 2], seen: &[Seen; 2], fin: u64) -> Figures {
    let mut figures = Figures {
        started: spoken.len() as u64,
        ..Figures::NOTHING
    };
    let starts: Vec<u64> = streams[0]
        .messages
        .iter()
        .map(|message| {
            // A request is counted at the first byte that differs from the HTTP/2 preface.
            let like_preface = streams[0].bytes[message.clone()]
                .iter()
                .zip(b"PRI * HTTP/2.0")
                .take_while(|(byte, expected)| byte == expected)
                .count();
            seen[0].at(message.start + like_preface)
        })
        .collect();
    for (index, spoken) in spoken.iter().enumerate() {
        figures.ended[spoken.way] += 1;
        if spoken.way == ended::EXCLUDED {
            continue;
        }
        let end = if spoken.closes {
            fin
        } else {
            seen[1].at(streams[1].messages[index].end - 1)
        };
        let lasted = end - starts[index];
        // When no request is in flight, the integral of requests in flight over time is the sum of the durations.
        figures.area += lasted;
        // Just before the end of this request, the requests in flight are this request and all later requests that have
        // started.
        let open = starts
            .iter()
            .skip(index)
            .filter(|start| **start <= end)
            .count();
        if open <= REMEMBERED {
            figures.latency[bucket(lasted)] += 1;
        }
    }
    figures
}

/// Plays a conversation. If `fin_with_last` is true, the server's FIN arrives with its last bytes, else after them.
fn play(spoken: &[Spoken], turns: &[Turn], first: [u32; 2], fin_with_last: bool) {
    const SIDES: [Side; 2] = [Side::Requests, Side::Responses];
    let streams = [
        Stream::of(spoken.iter().map(|spoken| &spoken.request)),
        Stream::of(spoken.iter().map(|spoken| &spoken.response)),
    ];
    let mut wire = Wire::open(first[0], first[1]);
    let mut seen = [Seen::default(), Seen::default()];
    let mut at = [0; 2];
    for turn in turns.iter().cycle() {
        // Responses are sent only for requests whose heads have arrived.
        let asked = streams[0]
            .head_ends
            .iter()
            .filter(|head_end| **head_end <= at[0])
            .count();
        let answered = asked
            .checked_sub(1)
            .map_or(0, |last| streams[1].messages[last].end);
        let limits = [streams[0].bytes.len(), answered];
        let mut side = usize::from(turn.server);
        if at[side] == limits[side] {
            side = 1 - side;
        }
        if at[side] == limits[side] {
            break;
        }
        // Each turn has a later time than the turn before, because the order of events at the same time would not be
        // known.
        wire.ledger.pass(turn.pause + 1);
        let stream = &streams[side];
        let turn = Turn {
            server: side == 1,
            ..*turn
        };
        let (pieces, end) = pieces(turn, at[side], limits[side], &stream.bodies);
        for piece in pieces {
            let last = fin_with_last && side == 1 && piece.end == stream.bytes.len();
            let sequence = first[side].wrapping_add(piece.start as u32);
            let flags = if last { Segment::FIN } else { 0 };
            wire.deliver(SIDES[side], sequence, &stream.bytes[piece], flags);
        }
        at[side] = end;
        seen[side].up_to(end, wire.ledger.elapsed());
    }
    let mut fin = seen[1].at(at[1] - 1);
    if !fin_with_last {
        let open = spoken
            .iter()
            .filter(|it| it.closes && it.way != ended::EXCLUDED)
            .count();
        assert_eq!(
            wire.figures().in_flight(),
            open as i64,
            "all is said: {:?}",
            wire.figures()
        );
        wire.ledger.pass(1);
        fin = wire.ledger.elapsed();
        let end = first[1].wrapping_add(at[1] as u32);
        wire.deliver(Side::Responses, end, &[], Segment::FIN);
    }
    wire.ledger.pass(1);
    let expected = truth(spoken, &streams, &seen, fin);
    assert_eq!(*wire.figures(), expected);
    wire.close();
    assert_eq!(*wire.figures(), expected, "closed");
}

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn counts_are_the_truth(
        spoken in conversation(),
        turns in turns(),
        first: [u32; 2],
        fin_with_last: bool,
    ) {
        play(&spoken, &turns, first, fin_with_last);
    }

    /// The generated messages agree with `httparse`: the ends of their heads are where `httparse` finds them.
    #[test]
    fn the_truth_is_that_of_httparse(spoken in conversation()) {
        for spoken in &spoken {
            let mut fields = [httparse::EMPTY_HEADER; 32];
            let head = spoken.request.heads[0].clone();
            let parsed = httparse::Request::new(&mut fields).parse(&spoken.request.bytes).unwrap();
            prop_assert_eq!(parsed, httparse::Status::Complete(head.end));
            for head in &spoken.response.heads {
                let mut fields = [httparse::EMPTY_HEADER; 32];
                let parsed = httparse::Response::new(&mut fields).parse(&spoken.response.bytes[head.start..]).unwrap();
                prop_assert_eq!(parsed, httparse::Status::Complete(head.len()));
            }
        }
    }
}
