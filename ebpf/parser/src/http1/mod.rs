//! HTTP/1.x on one direction of a connection, one step at a time.
//!
//! A step reads one line, or skips as much of a body as has arrived. The parser keeps all its state in the connection,
//! so it can stop after any byte. RFC 9112, section 6.3, defines where a message ends.
//!
//! After a message that cannot be read, counting resumes at the next message that can be recognised (see `resume`).

mod fields;
mod proxy;
mod request;
mod response;
mod resume;
mod value;

pub use response::last_byte;

use ebb_abi::{ended, event};

use value::Value;

use crate::{
    conn::{Conn, state},
    direction::{Direction, Segment, SegmentPlace, Side, flag, phase},
    packet::{Meter, Packet},
    protocol::Protocol as _,
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

/// Returns whether a segment must wait, because bytes before the segment are missing and must be read first.
#[inline(always)]
pub fn is_out_of_order(side: Side, conn: &mut Conn, segment: Segment) -> bool {
    if conn.is(state::TUNNEL | state::OPAQUE) {
        return false;
    }
    let direction = conn.direction(side);
    let passable = match direction.phase_now() {
        phase::UNTIL_CLOSE | phase::IGNORE => u64::MAX,
        _ if in_body(direction) => direction.remaining,
        _ => 0,
    };
    direction.has_gap_before(segment, passable)
}

/// Returns whether a segment can be read without a call of [`arrive`], as most segments can.
#[inline(always)]
pub fn is_next(side: Side, conn: &mut Conn, segment: Segment) -> bool {
    let silent = conn.is(state::TUNNEL | state::OPAQUE);
    let direction = conn.direction(side);
    direction.is_next(segment) && direction.phase_now() < phase::UNTIL_CLOSE && !silent
}

/// Prepares to read a segment: finds its position. Returns `false` if the segment has no new bytes.
///
/// Bytes may be missing before the segment: they are lost, or the segment has overtaken them. Inside a body, missing
/// bytes do not matter: only the length of a body does. In a head, they make the connection opaque.
///
/// If the bytes before the segment cannot be read, searches for a message at the beginning of the segment.
#[inline(always)]
pub fn arrive<const UNUSUAL: bool, P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> bool {
    let silent = conn.is(state::TUNNEL | state::OPAQUE);
    let direction = conn.direction(side);
    if direction.has(flag::UNFINISHED) {
        // An earlier run of the program has read the first part of this segment, so the position is known.
        direction.flags &= !flag::UNFINISHED;
        return true;
    }
    if silent {
        direction.ignore();
    }
    match direction.place(segment) {
        SegmentPlace::Nothing => return false,
        SegmentPlace::Next => {}
        SegmentPlace::Ahead(gap) => {
            match direction.phase_now() {
                phase::UNTIL_CLOSE | phase::IGNORE => {}
                _ if in_body(direction) && u64::from(gap) <= direction.remaining => {
                    direction.remaining -= u64::from(gap);
                }
                _ => direction.flags |= flag::UNREADABLE,
            }
            direction.next = segment.first;
        }
    }
    if UNUSUAL && conn.direction(side).phase_now() >= phase::UNTIL_CLOSE {
        resume::search(side, conn, packet, meter, segment);
    }
    true
}

/// Returns whether [`arrive`] must be called with `UNUSUAL`, because a message may be recognised at the beginning of
/// the segment.
#[inline(always)]
pub fn must_search(side: Side, conn: &mut Conn) -> bool {
    match side {
        Side::Requests => {
            conn.is(state::OPAQUE) && conn.requests.detail_now() != Direction::NEVER_HTTP1
        }
        Side::Responses => {
            conn.responses.phase_now() >= phase::UNTIL_CLOSE
                && !conn.is(state::TUNNEL | state::OPAQUE)
                && conn.is_response_awaited()
        }
    }
}

/// Acts on the flags that the parser has set while it read a segment: makes the connection opaque, or makes it a
/// tunnel. Called once, after all steps.
#[inline(always)]
pub fn leave<M: Meter>(side: Side, conn: &mut Conn, meter: &mut M) {
    let direction = conn.direction(side);
    if direction.has(flag::UNREADABLE) {
        direction.flags &= !flag::UNREADABLE;
        direction.ignore();
        // Bytes of the server that answer no request are not counted. But if they are the first ones on the connection,
        // the protocol is one in which the server speaks first.
        if side == Side::Requests || conn.open() > 0 || conn.started == 0 {
            conn.become_opaque(meter, event::UNREADABLE);
        }
    }
    if side == Side::Responses && conn.responses.has(flag::GRANTED) {
        conn.responses.flags &= !flag::GRANTED;
        conn.responses.ignore();
        conn.become_tunnel(meter);
    }
    if side == Side::Responses {
        if conn.responses.phase_now() == phase::IGNORE && !conn.is_response_lost() {
            conn.lose_response(ended::OPAQUE);
        }
        conn.abort_older(meter);
    }
}

/// The result of a step through a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing more to read in the segment.
    Done,
    /// There may be more to read in the segment.
    More,
    /// The next bytes are unusual: a step with `UNUSUAL` must read them.
    Unusual,
}

impl Step {
    #[inline(always)]
    fn more(more: bool) -> Self {
        if more { Self::More } else { Self::Done }
    }
}

/// Takes one step through a segment. Without `UNUSUAL`, the code has only what typical messages need: more code would
/// make each step slower, even if it is never executed.
#[inline(always)]
pub fn step<const UNUSUAL: bool, P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> Step {
    let silent = conn.is(state::TUNNEL | state::OPAQUE);
    let direction = conn.direction(side);
    // `known` says whether the segment may contain more to read. It is `None` if this step must read a line to find
    // out.
    let known = if !silent && direction.is_inside_head() {
        direction.window.line_filter = fields::known(side);
        None
    } else {
        if direction.flags & (flag::UNREADABLE | flag::GRANTED | flag::HTTP2) != 0 {
            return Step::Done;
        }
        if silent {
            direction.ignore();
        }
        if direction.phase_now() >= phase::UNTIL_CLOSE {
            direction.window.clear();
            direction.next = segment.first.wrapping_add(segment.length);
            return Step::Done;
        }
        if in_body(direction) {
            Some(Step::More)
        } else {
            begin_line::<UNUSUAL, P, M>(side, conn, packet, meter, segment)
        }
    };
    let taken = match known {
        Some(taken) => taken,
        None => read_line::<UNUSUAL, P, M>(side, conn, packet, meter, segment),
    };
    if !UNUSUAL && taken == Step::Unusual {
        return taken;
    }
    // A body or chunk that follows the line is skipped in the same step, because one egress packet can have hundreds of
    // chunks, and the number of steps is limited.
    let direction = conn.direction(side);
    if in_body(direction) && !skip(side, direction, segment) {
        return Step::Done;
    }
    if conn.direction(side).has(flag::COMPLETE) {
        match side {
            Side::Requests => conn.requests.next_message(),
            Side::Responses => response::end(conn, meter),
        }
    }
    let direction = conn.direction(side);
    Step::more(
        taken == Step::More
            && !direction.has(flag::HTTP2)
            && (direction.window.unread() != 0 || segment.left(direction) != 0),
    )
}

/// Returns whether the next bytes belong to a body, and not to the rest of a long line with a chunk size. After a head
/// with `Expect`, the first bytes decide whether they belong to a body (see `request::waits`).
#[inline(always)]
fn in_body(direction: &Direction) -> bool {
    matches!(direction.phase_now(), phase::BODY | phase::CHUNK_DATA)
        && !direction.has(flag::SKIP_LINE)
        && !direction.has(flag::EXPECT)
}

/// Skips bytes of a body or chunk. Returns `true` if the body or chunk has ended.
#[inline(always)]
fn skip(side: Side, direction: &mut Direction, segment: Segment) -> bool {
    let skipped = direction.pass(segment, direction.remaining);
    direction.remaining -= skipped;
    if direction.remaining > 0 {
        return false;
    }
    if direction.phase_now() == phase::CHUNK_DATA {
        direction.phase = match side {
            Side::Requests => phase::CHUNK_END,
            Side::Responses => phase::CHUNK_HEAD,
        };
    } else {
        direction.flags |= flag::COMPLETE;
    }
    true
}

/// Loads the bytes that follow the unread ones, which stay in the window. Returns `false` if there are no such bytes.
#[inline(always)]
fn load_more<P: Packet>(direction: &mut Direction, packet: &P, segment: Segment) -> bool {
    direction.flags &= !flag::SHORT;
    if direction.window.unread() == 0 {
        direction.window.clear();
    } else {
        direction.window.keep();
    }
    direction.load(packet, segment)
}

/// Prepares to read a line. Returns `None` if a line can be read, otherwise the result of the step.
#[inline(always)]
fn begin_line<const UNUSUAL: bool, P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> Option<Step> {
    let direction = conn.direction(side);
    if (direction.window.unread() == 0 || direction.has(flag::SHORT))
        && !load_more(direction, packet, segment)
    {
        return Some(Step::Done);
    }
    if direction.phase_now() == phase::VALUE {
        if !UNUSUAL {
            return Some(Step::Unusual);
        }
        value::step(side, direction);
        return Some(Step::More);
    }
    if side == Side::Requests {
        if UNUSUAL {
            if request::waits(conn) || proxy::skips(conn) {
                let direction = &conn.requests;
                let more = !direction.has(flag::SHORT) || segment.left(direction) > 0;
                return Some(Step::more(more));
            }
        } else if request::is_unusual(conn) {
            return Some(Step::Unusual);
        }
        request::begin::<UNUSUAL, M>(conn, meter);
    }
    if side == Side::Responses
        && conn.started == 0
        && conn.responses.has(flag::START_LINE)
        && response::is_settings(&conn.responses.window)
    {
        // Some HTTP/2 servers send their SETTINGS frame before the client has sent anything.
        conn.server_begins_http2();
        return Some(Step::Done);
    }
    if side == Side::Responses && !response::begin(conn) {
        return Some(Step::More);
    }
    let direction = conn.direction(side);
    direction.window.line_filter = if direction.has(flag::SKIP_LINE)
        || direction.phase_now() == phase::CHUNK_HEAD
        || (side == Side::Requests && direction.phase_now() == phase::CHUNK_END)
        || (direction.phase_now() == phase::HEAD && direction.has(flag::START_LINE))
    {
        fields::EVERY
    } else if direction.phase_now() == phase::TRAILER {
        fields::EMPTY
    } else {
        fields::known(side)
    };
    None
}

/// Reads a line and handles it.
#[inline(always)]
fn read_line<const UNUSUAL: bool, P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> Step {
    let direction = conn.direction(side);
    match direction
        .window
        .read_line(|window, at| fields::passes_filter(side, window, at))
    {
        Search::Found => {
            if direction.has(flag::SKIP_LINE) {
                direction.flags &= !flag::SKIP_LINE;
                if side == Side::Requests {
                    request::skip_line(direction);
                    direction.detail = 0;
                }
                return Step::More;
            }
        }
        Search::Unfinished => return Step::More,
        // The line does not end in the window.
        Search::Nothing => {
            let skips = direction.has(flag::SKIP_LINE);
            if !skips && direction.window.unread() <= CARRY {
                direction.flags |= flag::SHORT;
                return Step::more(segment.left(direction) > 0);
            }
            direction.window.read_beginning();
            if skips {
                if side == Side::Requests {
                    request::skip_line(direction);
                }
                return Step::more(segment.left(direction) > 0);
            }
            direction.flags |= flag::SKIP_LINE;
        }
    }
    line::<UNUSUAL, P, M>(side, conn, packet, meter)
}

/// Prepares to read the data of a chunk. After the chunk of size 0, only trailers follow.
#[inline(always)]
fn set_chunk_size(side: Side, direction: &mut Direction, size: u64) {
    if size == 0 {
        direction.phase = phase::TRAILER;
    } else {
        direction.phase = phase::CHUNK_DATA;
        // Of a response, `remaining` includes the line end after the data. Of a request, it is read: without it,
        // servers disagree on where the next chunk begins.
        direction.remaining = match side {
            Side::Requests => size,
            Side::Responses => size.saturating_add(2),
        };
    }
}

/// Handles a line.
#[inline(always)]
fn line<const UNUSUAL: bool, P: Packet, M: Meter>(
    side: Side,
    conn: &mut Conn,
    packet: &P,
    meter: &mut M,
) -> Step {
    let direction = conn.direction(side);
    let line = Line::of(direction);
    match direction.phase_now() {
        phase::CHUNK_HEAD => match fields::chunk_size(&direction.window, line) {
            None => value::begin(side, direction, Value::Size, line, 0),
            Some(size) => set_chunk_size(side, direction, size),
        },
        phase::CHUNK_END if side == Side::Requests => {
            if fields::is_empty(&direction.window, line) {
                direction.phase = phase::CHUNK_HEAD;
            } else {
                direction.flags |= flag::UNREADABLE;
            }
        }
        phase::TRAILER => {
            if fields::is_empty(&direction.window, line) {
                direction.flags |= flag::COMPLETE;
            } else if side == Side::Requests && direction.window.byte(line.start) == b'\r' {
                // As in a head: some servers end the trailers here.
                direction.flags |= flag::UNREADABLE;
            }
        }
        _ => match side {
            Side::Requests => {
                if request::head_line::<UNUSUAL, P, M>(conn, packet, meter, line) {
                    read_again(&mut conn.requests, line, 0);
                    return Step::Unusual;
                }
            }
            Side::Responses => response::head_line(conn, line),
        },
    }
    Step::More
}

/// Makes the bytes of a line unread again, from `offset` bytes after its beginning.
#[inline(always)]
fn read_again(direction: &mut Direction, line: Line, offset: u32) {
    let window = &mut direction.window;
    window.start = line.start + offset;
    if window.end == 0 {
        // The window has been cleared, because only the beginning of the line has arrived.
        window.end = line.end;
    }
    direction.flags &= !flag::SKIP_LINE;
}
