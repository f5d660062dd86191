//! HTTP/1.x on one direction of a connection, a step at a time.
//!
//! A step reads a line, or skips as much of a body as there is. All state is in the connection, so
//! it can stop behind any byte. RFC 9112 says where a message ends (section 6.3).

mod fields;
mod request;
mod response;

pub use response::last_byte;

use crate::{
    conn::{Conn, state},
    direction::{Direction, Segment, flag, phase},
    packet::{Meter, Packet},
    window::{CARRY, LOAD},
};

/// Which direction a step reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client.
    Requests,
    /// To the client.
    Responses,
}

/// A line of the window: the bytes at `start .. end`, without its newline.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    end: u32,
    /// False where only the beginning of an over-long line is there.
    whole: bool,
}

impl Line {
    #[inline(always)]
    fn of(direction: &Direction) -> Self {
        let (start, end) = direction.window.line();
        Self {
            start,
            end,
            whole: !direction.has(flag::SKIP_LINE),
        }
    }
}

impl Conn {
    #[inline(always)]
    fn side(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Requests => &mut self.requests,
            Side::Responses => &mut self.responses,
        }
    }
}

/// How far a segment is ahead of the parser beyond which it is not taken for one of this
/// connection's: receive windows are smaller.
const FARTHEST: u32 = 1 << 28;

/// Looks where a segment lies before it is read. `false` if it brings nothing.
///
/// Bytes may be missing before it (lost, or overtaken by it). Inside a body that is no loss: only
/// its length matters. In a head it is, and the connection becomes opaque.
#[inline(always)]
pub fn arrive(side: Side, conn: &mut Conn, segment: Segment) -> bool {
    let direction = conn.side(side);
    if direction.has(flag::UNFINISHED) {
        // The rest of a segment that has been here before.
        direction.flags &= !flag::UNFINISHED;
        return true;
    }
    let gap = segment.first.wrapping_sub(direction.next);
    if gap == 0 || gap > u32::MAX - FARTHEST {
        // In order, or a repetition of which the end may be new.
        return segment.left(direction) > 0;
    }
    if gap > FARTHEST {
        return false;
    }
    match direction.phase {
        phase::UNTIL_CLOSE | phase::IGNORE => {}
        phase::BODY | phase::CHUNK_DATA
            if u64::from(gap) <= direction.remaining && !direction.has(flag::SKIP_LINE) =>
        {
            direction.remaining -= u64::from(gap);
        }
        _ => direction.flags |= flag::UNREADABLE,
    }
    direction.next = segment.first;
    true
}

/// Follows up what the steps through a segment have found, once for all of them.
#[inline(always)]
pub fn leave<M: Meter>(side: Side, conn: &mut Conn, meter: &mut M) {
    let direction = conn.side(side);
    if direction.has(flag::UNREADABLE) {
        direction.flags &= !flag::UNREADABLE;
        direction.ignore();
        conn.become_opaque(meter);
    }
    if side == Side::Responses && conn.responses.has(flag::GRANTED) {
        conn.responses.flags &= !flag::GRANTED;
        conn.responses.ignore();
        conn.become_tunnel(meter);
    }
    if side == Side::Responses {
        conn.settle(meter);
    }
}

/// One step through a segment. `false` when there is nothing more to read in it.
#[inline(always)]
pub fn step<P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> bool {
    let silent = conn.is(state::TUNNEL | state::OPAQUE);
    let direction = conn.side(side);
    if direction.flags & (flag::UNREADABLE | flag::GRANTED) != 0 {
        return false;
    }
    if silent {
        direction.ignore();
    }
    // The line of a chunk's size may still be going on, with an extension.
    if matches!(direction.phase, phase::BODY | phase::CHUNK_DATA)
        && !direction.has(flag::SKIP_LINE)
        && !skip(direction, segment)
    {
        return false;
    }
    // What follows a chunk is read in the same step: one packet on its way out can hold hundreds.
    let more = match direction.phase {
        phase::UNTIL_CLOSE | phase::IGNORE => {
            direction.window.clear();
            direction.next = segment.first.wrapping_add(segment.length);
            false
        }
        _ if direction.has(flag::COMPLETE) => true,
        _ => read_line(side, conn, packet, meter, segment),
    };
    if conn.side(side).has(flag::COMPLETE) {
        match side {
            Side::Requests => conn.requests.next_message(),
            Side::Responses => response::end(conn, meter),
        }
    }
    more
}

/// Skips bytes of a body: those in the window first, then of those that are not loaded. `true` at its end.
#[inline(always)]
fn skip(direction: &mut Direction, segment: Segment) -> bool {
    let unread = direction.window.unread();
    if direction.remaining < u64::from(unread) {
        direction.window.start = direction
            .window
            .start
            .wrapping_add(direction.remaining as u32);
        direction.remaining = 0;
    } else {
        direction.remaining -= u64::from(unread);
        direction.window.clear();
        let left = segment.left(direction);
        let skipped = if direction.remaining < u64::from(left) {
            direction.remaining as u32
        } else {
            left
        };
        direction.remaining -= u64::from(skipped);
        direction.next = direction.next.wrapping_add(skipped);
    }
    if direction.remaining > 0 {
        return false;
    }
    if direction.phase == phase::CHUNK_DATA {
        direction.phase = phase::CHUNK_HEAD;
    } else {
        direction.flags |= flag::COMPLETE;
    }
    true
}

/// Loads what follows the bytes in the window. `false` if there is nothing.
#[inline(always)]
fn load<P: Packet>(direction: &mut Direction, packet: &P, segment: Segment) -> bool {
    let left = segment.left(direction);
    let length = if left < LOAD { left } else { LOAD };
    let at = direction.window.end;
    if length == 0 || at > CARRY {
        return false;
    }
    let offset = direction.next.wrapping_sub(segment.first);
    if !packet.load(
        segment.offset.wrapping_add(offset),
        &mut direction.window,
        at,
        length,
    ) {
        return false;
    }
    direction.window.end = at + length;
    direction.next = direction.next.wrapping_add(length);
    true
}

#[inline(always)]
fn read_line<P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> bool {
    let direction = conn.side(side);
    if direction.window.unread() == 0 || direction.has(flag::SHORT) {
        direction.flags &= !flag::SHORT;
        direction.window.keep();
        if !load(direction, packet, segment) {
            return false;
        }
    }
    if side == Side::Requests {
        request::begin(conn, meter);
    }
    let direction = conn.side(side);
    let skips = direction.has(flag::SKIP_LINE);
    if direction.window.read_line() {
        if skips {
            direction.flags &= !flag::SKIP_LINE;
            return true;
        }
    } else {
        // The line goes on behind the window.
        if !skips && direction.window.unread() <= CARRY {
            direction.flags |= flag::SHORT;
            return segment.left(direction) > 0;
        }
        direction.window.read_beginning();
        if skips {
            return segment.left(direction) > 0;
        }
        direction.flags |= flag::SKIP_LINE;
    }
    line(side, conn, packet, meter);
    true
}

#[inline(always)]
fn line<P: Packet, M: Meter>(side: Side, conn: &mut Conn, packet: &P, meter: &mut M) {
    let direction = conn.side(side);
    let line = Line::of(direction);
    match direction.phase {
        phase::CHUNK_HEAD => match fields::chunk_size(&direction.window, line) {
            None => direction.flags |= flag::UNREADABLE,
            Some(0) => direction.phase = phase::TRAILER,
            Some(size) => {
                direction.phase = phase::CHUNK_DATA;
                // With the CRLF behind the data.
                direction.remaining = size.saturating_add(2);
            }
        },
        phase::TRAILER => {
            if fields::is_empty(&direction.window, line) {
                direction.flags |= flag::COMPLETE;
            }
        }
        _ => match side {
            Side::Requests => request::head_line(conn, packet, meter, line),
            Side::Responses => response::head_line(conn, line),
        },
    }
}
