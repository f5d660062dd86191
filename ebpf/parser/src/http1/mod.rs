//! HTTP/1.x on one direction of a connection, one step at a time.
//!
//! A step reads one line, or skips as much of a body as has arrived. The parser keeps all its state in the connection,
//! so it can stop after any byte. RFC 9112, section 6.3, defines where a message ends.

mod fields;
mod request;
mod response;

pub use response::last_byte;

use ebb_abi::event;

use crate::{
    conn::{Conn, state},
    direction::{Direction, Segment, SegmentPlace, Side, flag, phase},
    packet::{Meter, Packet},
    window::{CARRY, Search},
};

/// A line in the window: the bytes at `start .. end`, without its newline.
#[derive(Clone, Copy, Debug)]
struct Line {
    start: u32,
    end: u32,
    /// False if only the beginning of an over-long line is in the window.
    whole: bool,
}

impl Line {
    #[inline(always)]
    fn of(direction: &Direction) -> Self {
        let (start, end) = direction.window.line();
        Self {
            start,
            end,
            // A line of more than `CARRY` bytes is never `whole`, even if it happens to be in the window completely:
            // the result must not depend on how packets cut the line.
            whole: !direction.has(flag::SKIP_LINE) && end.wrapping_sub(start) <= CARRY,
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

/// Returns whether a segment must wait, because bytes before the segment are missing and must be read first.
#[inline(always)]
pub fn is_out_of_order(side: Side, conn: &mut Conn, segment: Segment) -> bool {
    if conn.is(state::TUNNEL | state::OPAQUE) {
        return false;
    }
    let direction = conn.side(side);
    let passable = match direction.phase_now() {
        phase::UNTIL_CLOSE | phase::IGNORE => u64::MAX,
        phase::BODY | phase::CHUNK_DATA if !direction.has(flag::SKIP_LINE) => direction.remaining,
        _ => 0,
    };
    direction.has_gap_before(segment, passable)
}

/// Prepares to read a segment: finds its position. Returns `false` if the segment has no new bytes.
///
/// Bytes may be missing before the segment: they are lost, or the segment has overtaken them. Inside a body, missing
/// bytes do not matter: only the length of a body does. In a head, they make the connection opaque.
#[inline(always)]
pub fn arrive(side: Side, conn: &mut Conn, segment: Segment) -> bool {
    let direction = conn.side(side);
    if direction.has(flag::UNFINISHED) {
        // An earlier run of the program has read the first part of this segment, so the position is known.
        direction.flags &= !flag::UNFINISHED;
        return true;
    }
    let gap = match direction.place(segment) {
        SegmentPlace::Nothing => return false,
        SegmentPlace::Next => return true,
        SegmentPlace::Ahead(gap) => gap,
    };
    match direction.phase_now() {
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

/// Acts on the flags that the parser has set while it read a segment: makes the connection opaque, or makes it a
/// tunnel. Called once, after all steps.
#[inline(always)]
pub fn leave<M: Meter>(side: Side, conn: &mut Conn, meter: &mut M) {
    let direction = conn.side(side);
    if direction.has(flag::UNREADABLE) {
        direction.flags &= !flag::UNREADABLE;
        direction.ignore();
        conn.become_opaque(meter, event::UNREADABLE);
    }
    if side == Side::Responses && conn.responses.has(flag::GRANTED) {
        conn.responses.flags &= !flag::GRANTED;
        conn.responses.ignore();
        conn.become_tunnel(meter);
    }
    if side == Side::Responses {
        conn.abort_all_but_newest(meter);
    }
}

/// Takes one step through a segment. Returns `false` if there is nothing more to read in the segment.
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
    // `known` says whether the segment may contain more to read. It is `None` if this step must read a line to find
    // out.
    let known = if !silent && direction.is_inside_head() {
        direction.window.line_filter = fields::KNOWN;
        None
    } else {
        if direction.flags & (flag::UNREADABLE | flag::GRANTED | flag::HTTP2) != 0 {
            return false;
        }
        if silent {
            direction.ignore();
        }
        if matches!(direction.phase_now(), phase::UNTIL_CLOSE | phase::IGNORE) {
            direction.window.clear();
            direction.next = segment.first.wrapping_add(segment.length);
            return false;
        }
        if in_body(direction) {
            Some(true)
        } else {
            begin_line(side, conn, packet, meter, segment)
        }
    };
    let more = match known {
        Some(more) => more,
        None => read_line(side, conn, packet, meter, segment),
    };
    // A body or chunk that follows the line is skipped in the same step, because one egress packet can have hundreds of
    // chunks, and the number of steps is limited.
    let direction = conn.side(side);
    if in_body(direction) && !skip(direction, segment) {
        return false;
    }
    if conn.side(side).has(flag::COMPLETE) {
        match side {
            Side::Requests => conn.requests.next_message(),
            Side::Responses => response::end(conn, meter),
        }
    }
    let direction = conn.side(side);
    more && !direction.has(flag::HTTP2)
        && (direction.window.unread() != 0 || segment.left(direction) != 0)
}

/// Returns whether the next bytes belong to a body, and not to the rest of a long line with a chunk size.
#[inline(always)]
fn in_body(direction: &Direction) -> bool {
    matches!(direction.phase_now(), phase::BODY | phase::CHUNK_DATA)
        && !direction.has(flag::SKIP_LINE)
}

/// Skips bytes of a body or chunk. Returns `true` if the body or chunk has ended.
#[inline(always)]
fn skip(direction: &mut Direction, segment: Segment) -> bool {
    let skipped = direction.pass(segment, direction.remaining);
    direction.remaining -= skipped;
    if direction.remaining > 0 {
        return false;
    }
    if direction.phase_now() == phase::CHUNK_DATA {
        direction.phase = phase::CHUNK_HEAD;
    } else {
        direction.flags |= flag::COMPLETE;
    }
    true
}

/// Prepares to read a line. Returns `None` if a line can be read. Otherwise returns whether the segment contains more
/// to read.
#[inline(always)]
fn begin_line<P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> Option<bool> {
    let direction = conn.side(side);
    if direction.window.unread() == 0 || direction.has(flag::SHORT) {
        direction.flags &= !flag::SHORT;
        if direction.window.unread() == 0 {
            direction.window.clear();
        } else {
            direction.window.keep();
        }
        if !direction.load(packet, segment) {
            return Some(false);
        }
    }
    if side == Side::Requests {
        request::begin(conn, meter);
    }
    if side == Side::Responses
        && conn.started == 0
        && conn.responses.has(flag::START_LINE)
        && response::is_settings(&conn.responses.window)
    {
        // Some HTTP/2 servers send their SETTINGS frame before the client has sent anything.
        conn.server_begins_http2();
        return Some(false);
    }
    if side == Side::Responses && !response::begin(conn) {
        return Some(true);
    }
    let direction = conn.side(side);
    direction.window.line_filter = if direction.has(flag::SKIP_LINE)
        || direction.phase_now() == phase::CHUNK_HEAD
        || (direction.phase_now() == phase::HEAD && direction.has(flag::START_LINE))
    {
        fields::EVERY
    } else if direction.phase_now() == phase::TRAILER {
        fields::EMPTY
    } else {
        fields::KNOWN
    };
    None
}

/// Reads a line and handles it. Returns `false` if there is nothing more to read in the segment.
#[inline(always)]
fn read_line<P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> bool {
    let direction = conn.side(side);
    match direction
        .window
        .read_line(|window, at| fields::passes_filter(side, window, at))
    {
        Search::Found => {
            if direction.has(flag::SKIP_LINE) {
                direction.flags &= !flag::SKIP_LINE;
                return true;
            }
        }
        Search::Unfinished => return true,
        // The line does not end in the window.
        Search::Nothing => {
            let skips = direction.has(flag::SKIP_LINE);
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
    }
    line(side, conn, packet, meter);
    true
}

#[inline(always)]
fn line<P: Packet, M: Meter>(side: Side, conn: &mut Conn, packet: &P, meter: &mut M) {
    let direction = conn.side(side);
    let line = Line::of(direction);
    match direction.phase_now() {
        phase::CHUNK_HEAD => match fields::chunk_size(&direction.window, line) {
            None => direction.flags |= flag::UNREADABLE,
            Some(0) => direction.phase = phase::TRAILER,
            Some(size) => {
                direction.phase = phase::CHUNK_DATA;
                // `remaining` includes the CRLF after the data.
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
