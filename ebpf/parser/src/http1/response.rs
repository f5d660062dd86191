//! Reads the head of a response. Its status determines where the body ends.

use ebb_abi::ended;

use super::{Line, fields, request::begins_as};
use crate::{
    conn::{Conn, state},
    direction::{Side, flag, phase},
    packet::Meter,
    window::{LOWER, Window, text},
};

/// Number of bytes of a status line up to the end of its status code: `HTTP/1.x code`.
pub(super) const STATUS: u32 = 12;

/// First eight bytes of a status line, with any byte for the last digit of the version.
const VERSION: u64 = text(b"HTTP/1.\xff");

/// The bits of the last digit of the version.
const VERSION_DIGIT: u64 = 0xff << 56;

/// Reads the status code as soon as it has arrived. The rest of the status line is skipped like an unknown field.
/// Returns `false` if the bytes are not a status line.
#[inline(always)]
pub(super) fn begin(conn: &mut Conn) -> bool {
    let is_unasked = conn.open() == 0 && conn.started != 0;
    let direction = &mut conn.responses;
    if direction.phase_now() != phase::HEAD || !direction.has(flag::START_LINE) {
        return true;
    }
    let there = direction.window.unread();
    let word = direction.window.eight(direction.window.start);
    let first = word as u8;
    if first == b'\r' || first == b'\n' {
        // Common clients skip empty lines before a status line.
        return true;
    }
    if there < STATUS {
        // If no response is awaited, other bytes must not become the beginning of the next response.
        let is_surplus = is_unasked && !begins_as(word | VERSION_DIGIT, VERSION, there);
        if is_surplus {
            direction.flags |= flag::UNREADABLE;
        }
        return !is_surplus;
    }
    match status(&direction.window) {
        Some(status) => {
            direction.status = status;
            direction.flags &= !flag::START_LINE;
            true
        }
        None => {
            direction.flags |= flag::UNREADABLE;
            false
        }
    }
}

#[inline(always)]
pub(super) fn head_line(conn: &mut Conn, line: Line) {
    let direction = &mut conn.responses;
    if direction.phase_now() != phase::HEAD {
        return;
    }
    if direction.has(flag::START_LINE) {
        if !fields::is_empty(&direction.window, line) {
            // The first line of the response has ended before its status code, so it is not a status line.
            direction.flags |= flag::UNREADABLE;
        }
        return;
    }
    if fields::is_empty(&direction.window, line) {
        head_end(conn);
        return;
    }
    let name = fields::name(&direction.window, line);
    if names_h2c(&direction.window, line, name) {
        direction.flags |= flag::H2C;
    }
    fields::framing(Side::Responses, direction, line, name);
}

/// Returns whether a header field names HTTP/2 (`h2c`) as the protocol to switch to (RFC 7540, 3.2).
#[inline(always)]
fn names_h2c(window: &Window, line: Line, name: (u64, u64)) -> bool {
    if name.0 != text(b"upgrade:") {
        return false;
    }
    let value = line.start + 8;
    let value = value + fields::leading_blanks(window.eight(value));
    let behind = window.byte(value + 3);
    value + 3 <= line.end
        && (window.eight(value) | LOWER) & 0xff_ffff == text(b"h2c\0\0\0\0\0")
        && (value + 3 == line.end || fields::is_blank(behind) || behind == b',')
}

/// Returns whether the bytes are the head of a SETTINGS frame, with which a server begins HTTP/2.
#[inline(always)]
pub(super) fn is_settings(window: &Window) -> bool {
    // The head of a SETTINGS frame has three bytes of length (here below 256), one byte of type, and five bytes of
    // flags and stream, all 0. The length is a multiple of 6 (RFC 9113, 6.5.1), so its byte cannot be a newline (10),
    // which would be the end of a line.
    window.unread() >= 9
        && window.eight(window.start) & 0xffff_ffff_ff00_ffff == 0x0000_0000_0400_0000
        && window.byte(window.start + 2) != b'\n'
        && window.byte(window.start + 8) == 0
}

/// Returns the code of the line `HTTP/1.x code …` at the start of the window. Returns `None` if there is no such line.
/// The first digit of a code may be any digit from 1 to 9 (RFC 9110, 15).
#[inline(always)]
pub(super) fn status(window: &Window) -> Option<u64> {
    let version = window.eight(window.start);
    // The byte after the dot must be a digit. It could also be a newline, which would end the line.
    if version & 0x00ff_ffff_ffff_ffff != text(b"HTTP/1.\0")
        || (version >> 56).wrapping_sub(u64::from(b'0')) > 9
    {
        return None;
    }
    let code = window.eight(window.start + 8);
    let hundreds = (code >> 8 & 0xff).wrapping_sub(u64::from(b'0'));
    let tens = (code >> 16 & 0xff).wrapping_sub(u64::from(b'0'));
    let ones = (code >> 24 & 0xff).wrapping_sub(u64::from(b'0'));
    // The arithmetic wraps, because the bytes have not been checked yet, and may not be digits.
    let status = hundreds
        .wrapping_mul(100)
        .wrapping_add(tens.wrapping_mul(10))
        .wrapping_add(ones);
    (code & 0xff == u64::from(b' ') && (1..=9).contains(&hundreds) && tens <= 9 && ones <= 9)
        .then_some(status)
}

/// Determines where the body of this response ends (RFC 9112, 6.3).
#[inline(always)]
fn head_end(conn: &mut Conn) {
    let status = conn.responses.status;
    if status == 101 && conn.responses.has(flag::H2C) {
        conn.server_begins_http2();
        return;
    }
    if conn.open() > 0 && (status == 101 || (conn.answers_connect() && status / 100 == 2)) {
        conn.responses.flags |= flag::GRANTED;
        return;
    }
    let direction = &conn.responses;
    let no_body = status < 200
        || status == 204
        || status == 304
        || conn.answers_head()
        || (!direction.has(flag::CHUNKED)
            && !direction.has(flag::CODED)
            && direction.has(flag::LENGTH)
            && direction.remaining == 0);
    if no_body {
        conn.responses.flags |= flag::COMPLETE;
        return;
    }
    let direction = &mut conn.responses;
    direction.phase = if direction.has(flag::CHUNKED) {
        phase::CHUNK_HEAD
    } else if direction.has(flag::LENGTH) && !direction.has(flag::CODED) {
        phase::BODY
    } else {
        phase::UNTIL_CLOSE
    };
    if direction.phase_now() == phase::UNTIL_CLOSE {
        // The response ends at the latest when the next request arrives.
        conn.lose_response(way(status));
    }
}

/// Handles the last byte of a response. An interim response (1xx) does not end the request.
#[inline(always)]
pub(super) fn end<M: Meter>(conn: &mut Conn, meter: &mut M) {
    let status = conn.responses.status;
    conn.responses.next_message();
    if status >= 200 && !conn.is(state::CLOSED | state::TUNNEL | state::OPAQUE) {
        let now = meter.now();
        conn.end(meter, way(status), now);
    }
}

/// Returns the way in which a request with this status code ends (see [`ebb_abi::ended`]): the class of the code. A
/// code above 599 counts as a server error (RFC 9110, 15).
#[inline(always)]
fn way(status: u64) -> usize {
    if status < 200 {
        1
    } else if status < 300 {
        2
    } else if status < 400 {
        3
    } else if status < 500 {
        4
    } else {
        5
    }
}

/// Handles the end of the server's data. `complete` is false if the client has sent a RST. A RST of the server counts
/// as complete: TCP sends it if the server closes before it has read all data of the client, as servers do after an
/// error. A connection that TCP gives up after a time without a response counts as complete, too. In two cases, the
/// request that is being answered ends with the class of its status: it is the request of a tunnel; or its response
/// body ends with the connection, and `complete` is true. All other requests in flight are aborted.
#[inline(always)]
pub fn last_byte<M: Meter>(conn: &mut Conn, meter: &mut M, complete: bool) {
    let whole = conn.is(state::TUNNEL)
        || (complete && conn.responses.phase == phase::UNTIL_CLOSE && !conn.is_response_awaited());
    let ended = if whole {
        way(conn.responses.status)
    } else {
        ended::ABORTED
    };
    conn.finish(meter, ended);
}
