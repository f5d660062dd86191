//! Damaged heads. The parser must agree with `httparse` and RFC 9112, or make the connection opaque: the parser never
//! guesses.

use ebb_parser::{
    conn::state,
    direction::{Side, flag, phase},
};
use ebb_parser_testing::{
    http1::{Framing, framing},
    wire::Wire,
};
use httparse::{EMPTY_HEADER, Request, Response, Status};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    shared::config,
    spoken::{Message, spoken},
};

/// Returns the framing that the parser has found in a head, or `None` if the connection has become opaque.
fn found(wire: &mut Wire, side: Side) -> Option<Framing> {
    if wire.conn.is(state::OPAQUE) {
        return None;
    }
    let direction = wire.direction(side);
    Some(match direction.phase {
        phase::HEAD => {
            assert!(
                direction.has(flag::START_LINE) && direction.window.unread() == 0,
                "still in a head"
            );
            Framing::Nothing
        }
        phase::BODY => Framing::Length(direction.remaining),
        phase::CHUNK_HEAD => Framing::Chunks,
        phase::UNTIL_CLOSE => Framing::UntilClose,
        other => panic!("phase {other}"),
    })
}

/// Returns the last head of a message with damage. Each change consists of a position, a byte and a flag. If the flag
/// is false, the change replaces the byte at the position; otherwise it repeats the line that the position selects.
fn damaged(message: &Message, changes: &[(Index, u8, bool)]) -> Vec<u8> {
    let head = message.heads.last().unwrap().clone();
    let mut bytes = message.bytes[head].to_vec();
    for (index, byte, repeat) in changes {
        if *repeat {
            let lines: Vec<Vec<u8>> = bytes
                .split_inclusive(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            let line = index.index(lines.len());
            let mut lines = lines;
            lines.insert(line, lines[line].clone());
            bytes = lines.concat();
        } else {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8, bool)>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(b"\r\n\t :,;0123456789-GHC".to_vec())
    ];
    vec((any::<Index>(), byte, prop::bool::weighted(0.2)), 0..4)
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn request_heads(spoken in spoken(false), changes in changes()) {
        let bytes = damaged(&spoken.request, &changes);
        let mut fields = [EMPTY_HEADER; 64];
        let mut request = Request::new(&mut fields);
        let whole = request.parse(&bytes) == Ok(Status::Complete(bytes.len()));
        if whole && let Some(expected) = framing(request.headers, false) {
            let mut wire = Wire::open(0, 0);
            wire.deliver(Side::Requests, 0, &bytes, 0);
            prop_assert_eq!(wire.figures().started, 1);
            if let Some(found) = found(&mut wire, Side::Requests) {
                prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }

    #[test]
    fn response_heads(spoken in spoken(true), changes in changes()) {
        let bytes = damaged(&spoken.response, &changes);
        let mut fields = [EMPTY_HEADER; 64];
        let mut response = Response::new(&mut fields);
        let whole = response.parse(&bytes) == Ok(Status::Complete(bytes.len()));
        let usual = response.code.is_some_and(|code| (200..1000).contains(&code) && code != 204 && code != 304);
        if whole && usual && let Some(expected) = framing(response.headers, true) {
            let mut wire = Wire::open(0, 0);
            wire.deliver(Side::Requests, 0, b"GET / HTTP/1.1\r\n\r\n", 0);
            wire.deliver(Side::Responses, 0, &bytes, 0);
            if let Some(found) = found(&mut wire, Side::Responses) {
                prop_assert_eq!(found, expected, "{}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
