//! Recognises the next message after bytes that cannot be read, or whose end cannot be found.
//!
//! A client sends a request, and a server a response, at the beginning of a segment, unless it sends several at once.
//! So only the beginning of a segment is examined. Bias: only bytes that can hardly be anything else are recognised: of
//! a request, the whole first line up to `HTTP/1.x`; of a response, the line up to its status code, and only after a
//! request has arrived. Failure mode: if the bytes belong to a body after all, one request too many is counted, but
//! never more in flight.

use super::{
    Line,
    request::names_http1,
    response::{STATUS, status},
};
use crate::{
    attaching::{Beginning, LEAST, LOOK, beginning},
    conn::{Conn, state},
    direction::{Direction, Segment, Side, flag},
    packet::{Meter, Packet},
    protocol::Protocol as _,
    window::{LOAD, Search},
};

/// Searches for a message at the beginning of a segment. Prepares the direction to read the message, if there is one.
#[inline(always)]
pub(super) fn search<P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) {
    match side {
        Side::Requests => {
            if conn.is(state::OPAQUE)
                && conn.requests.detail_now() != Direction::NEVER_HTTP1
                && begins_with_request(&mut conn.requests, packet, segment)
                && conn.resume(meter)
            {
                conn.requests.next_message();
                conn.requests.flags |= flag::BEGUN;
            }
        }
        Side::Responses => {
            if !conn.is(state::TUNNEL | state::OPAQUE)
                && conn.is_response_awaited()
                && conn.open() == 1
                && look(&mut conn.responses, packet, segment, LOOK as u32)
                && conn.responses.window.end >= STATUS
                && status(&conn.responses.window).is_some()
            {
                conn.find_response();
                conn.responses.next_message();
            }
        }
    }
    // The bytes are loaded once more, by the step that reads them.
    conn.direction(side).window.clear();
}

/// Loads the first `most` unread bytes of a segment into the window, without a change of the position. Returns `false`
/// if there are none.
#[inline(always)]
fn look<P: Packet>(direction: &mut Direction, packet: &P, segment: Segment, most: u32) -> bool {
    let left = segment.left(direction);
    let length = if left < most { left } else { most };
    let offset = direction.next.wrapping_sub(segment.first);
    direction.window.clear();
    let loaded = length != 0
        && packet.load(
            segment.offset.wrapping_add(offset),
            &mut direction.window,
            0,
            length,
        );
    direction.window.end = if loaded { length } else { 0 };
    loaded
}

/// Returns whether the unread bytes of a segment begin with the whole first line of a request.
#[inline(always)]
fn begins_with_request<P: Packet>(direction: &mut Direction, packet: &P, segment: Segment) -> bool {
    if !look(direction, packet, segment, LOOK as u32) || direction.window.end < LEAST {
        return false;
    }
    let words = [direction.window.eight(0), direction.window.eight(8)];
    // A request line has more than `LOOK` bytes, or the segment ends with it: then `names_http1` fails if bytes left
    // from an earlier packet have been compared.
    if beginning(words) != Beginning::Request || !look(direction, packet, segment, LOAD) {
        return false;
    }
    direction.window.line_filter = super::fields::EVERY;
    if direction.window.read_line(|_, _| true) != Search::Found {
        return false;
    }
    let (start, end) = direction.window.line();
    let line = Line {
        start,
        end,
        whole: true,
    };
    names_http1::<true>(&direction.window, line).is_some()
}
