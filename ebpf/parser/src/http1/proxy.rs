//! Skips the header of the PROXY protocol, with which a load balancer tells the server the addresses of the client, at
//! the beginning of a connection
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, sections 2.1 and 2.2).
//!
//! Bias: the header is skipped only if nothing has been counted on the connection. A server that does not expect the
//! header rejects it, so no request can be hidden behind it.

use super::{
    Line,
    request::{begins_as, names_http1},
};
use crate::{
    conn::Conn,
    direction::{Direction, flag, phase},
    window::text,
};

/// First eight bytes of the header of version 1, a line of text: for TCP, and for an unknown protocol.
const LINES: [u64; 2] = [text(b"PROXY TC"), text(b"PROXY UN")];

/// First eight bytes of the header of version 2, which is binary.
const SIGNATURE: u64 = text(b"\r\n\r\n\0\r\nQ");

/// Bytes 8 to 11 of the header of version 2.
const SIGNATURE_END: u64 = text(b"UIT\n\0\0\0\0");

/// Number of bytes of the fixed part of the header of version 2: 12 bytes of signature, the version and the command,
/// the address family, and the length of the rest.
const FIXED: u32 = 16;

/// Returns whether the next bytes are the first ones on the connection.
#[inline(always)]
fn is_first(conn: &Conn) -> bool {
    conn.requests.phase_now() == phase::HEAD
        && conn.requests.has(flag::START_LINE)
        && !conn.requests.has(flag::BEGUN)
        && conn.started == 0
}

/// Returns whether all unread bytes could be the beginning of a line of version 1.
#[inline(always)]
pub(super) fn may_be_line(conn: &Conn) -> bool {
    let window = &conn.requests.window;
    is_first(conn) && begins_line(window.eight(window.start), window.unread())
}

#[inline(always)]
fn begins_line(word: u64, there: u32) -> bool {
    LINES.iter().any(|line| begins_as(word, *line, there))
}

/// Returns whether a line is the header of version 1. The caller skips the line. The end of a long line is not
/// examined, so a request with the method PROXY and a long target that begins with `TC` or `UN` is skipped, too. Common
/// servers reject such a target, because it is not a path.
#[inline(always)]
pub(super) fn is_line(direction: &Direction, line: Line) -> bool {
    !direction.has(flag::BEGUN)
        && line.end >= line.start + 8
        && begins_line(direction.window.eight(line.start), 8)
        && !(line.whole && names_http1::<true>(&direction.window, line).is_some())
}

/// Skips the header of version 2. Returns `true` if the unread bytes begin with the header, or could begin with it:
/// then [`flag::SHORT`] is set, and more bytes are needed.
#[inline(always)]
pub(super) fn skips(conn: &mut Conn) -> bool {
    let window = &conn.requests.window;
    let start = window.start;
    if window.byte(start) != b'\r' || !is_first(conn) {
        return false;
    }
    let there = window.unread();
    let end = window.eight(start + 8);
    let behind = if there > 12 { 4 } else { there.wrapping_sub(8) };
    if !begins_as(window.eight(start), SIGNATURE, there)
        || (there > 8 && !begins_as(end, SIGNATURE_END, behind))
    {
        return false;
    }
    let direction = &mut conn.requests;
    if there < FIXED {
        direction.flags |= flag::SHORT;
        return true;
    }
    // The length of the rest is in network byte order, at bytes 14 and 15.
    let length = u64::from(((end >> 48) as u16).swap_bytes());
    direction.window.start = start + FIXED;
    direction.phase = phase::BODY;
    direction.remaining = length;
    true
}
