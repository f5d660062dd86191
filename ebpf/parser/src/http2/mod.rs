//! HTTP/2 on one direction of a connection, one step at a time (RFC 9113).
//!
//! The parser learns from the frame heads which streams begin and which end. It reads header blocks field by field,
//! without decoding them (see [`block`]), to find the status, probes and excluded paths. As with HTTP/1, a connection
//! that cannot be read becomes opaque.

mod attach;
mod block;
mod field;
mod frame;
mod life;
mod opening;
mod overflow;
mod streams;
mod strings;
mod table;
mod words;

pub use block::Block;
pub use frame::Frame;
pub(crate) use frame::kind;
pub use life::Http2;
pub use overflow::{OVERFLOW_STREAMS, OverflowClaim, OverflowTable, OverflowTables};
pub use streams::{STREAMS, Streams};
pub use table::Table;

use crate::{
    direction::{Direction, Segment, SegmentPlace, Side, flag},
    packet::{Meter, Packet},
};

/// Kinds of bytes that the parser can expect in a direction: the values of [`Direction::phase`].
pub mod phase {
    /// The next `remaining` bytes of a frame, which the parser skips. On a new connection: the rest of the preface.
    pub const PAYLOAD: u8 = 0;
    /// The head of a frame.
    pub const HEAD: u8 = 1;
    /// The byte with the length of the padding after a header block.
    pub const PAD_LENGTH: u8 = 2;
    /// Bytes before a header block: the priority in HEADERS, or the promised stream identifier in PUSH_PROMISE.
    /// `Frame::prefix` is the number of these bytes.
    pub const PREFIX: u8 = 3;
    /// The first byte of a field.
    pub const FIELD: u8 = 4;
    /// Further bytes of the HPACK integer at the beginning of a field.
    pub const INDEX: u8 = 5;
    /// The first byte of a string's length.
    pub const LENGTH: u8 = 6;
    /// Further bytes of a string's length.
    pub const MORE_LENGTH: u8 = 7;
    /// The beginning of a string. If the string is a name or a value that Ebb needs, the parser examines its first
    /// bytes (at most `LOOKED_AT`).
    pub const STRING: u8 = 8;
    /// The rest of a string, which the parser skips.
    pub const REST: u8 = 9;
    /// The last stream identifier in a GOAWAY of the server.
    pub const LAST_STREAM: u8 = 10;
}

/// A bit of [`Direction::flags`], which HTTP/1 uses for something else: something rare is left to do for the newest
/// stream (`Http2::begin_postponed`).
const POSTPONED: u16 = flag::EXPECT;

/// A bit of [`Direction::flags`], which HTTP/1 uses for something else: the next frame must be SETTINGS, because it is
/// the first one after the change to HTTP/2 (RFC 9113, 3.4).
const FIRST_FRAME: u16 = flag::CHUNKED;

/// One direction of an HTTP/2 connection.
#[repr(C)]
#[derive(Debug)]
pub struct Way {
    /// State of the parser. `remaining` is the number of remaining bytes of the current frame.
    pub direction: Direction,
    /// The current frame.
    pub frame: Frame,
    /// The current header block.
    pub block: Block,
    /// Time of the current packet, ns; 0: the clock has not been read yet.
    time: u64,
}

impl Way {
    /// A direction of all zeros. [`Direction::open_at`] prepares it.
    pub const ZERO: Self = Self {
        direction: Direction::ZERO,
        frame: Frame::ZERO,
        block: Block::ZERO,
        time: 0,
    };

    /// Prepares for the next packet: its time is not known yet.
    #[inline(always)]
    pub fn begin_packet(&mut self) {
        self.time = 0;
    }

    /// Returns the time of the current packet, ns. The clock is read once for all streams in the packet.
    #[inline(always)]
    fn now<M: Meter>(&mut self, meter: &M) -> u64 {
        if self.time == 0 {
            self.time = meter.now();
        }
        self.time
    }
}

impl Http2 {
    /// Returns the state of one direction.
    #[inline(always)]
    pub fn way(&mut self, side: Side) -> &mut Way {
        match side {
            Side::Requests => &mut self.requests,
            Side::Responses => &mut self.responses,
        }
    }
}

/// Returns whether a segment must wait, because bytes before the segment are missing and must be read first.
#[inline(always)]
pub fn is_out_of_order(side: Side, http2: &mut Http2, segment: Segment) -> bool {
    if !http2.is_read() {
        return false;
    }
    let direction = &http2.way(side).direction;
    let passable = if direction.phase_now() == phase::PAYLOAD {
        direction.remaining
    } else {
        0
    };
    direction.has_gap_before(segment, passable)
}

/// Prepares to read a segment: finds its position. Returns `false` if the segment has no new bytes.
///
/// Bytes may be missing before the segment. In a payload that the parser skips, missing bytes do not matter. Elsewhere
/// they make the connection opaque.
#[inline(always)]
pub fn arrive(side: Side, http2: &mut Http2, segment: Segment) -> bool {
    let way = http2.way(side);
    if way.direction.has(flag::UNFINISHED) {
        way.direction.flags &= !flag::UNFINISHED;
        return true;
    }
    way.begin_packet();
    let direction = &mut way.direction;
    let gap = match direction.place(segment) {
        SegmentPlace::Nothing => return false,
        SegmentPlace::Next => return true,
        SegmentPlace::Ahead(gap) => u64::from(gap),
    };
    if direction.phase == phase::PAYLOAD && gap <= direction.remaining {
        direction.remaining -= gap;
    } else {
        direction.flags |= flag::UNREADABLE;
    }
    direction.next = segment.first;
    true
}

/// Takes one step through a segment. Returns `false` if there is nothing more to read in the segment.
#[inline(always)]
pub fn step<P: Packet, M: Meter>(
    side: Side,
    http2: &mut Http2,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> bool {
    if side == Side::Requests && http2.requests.direction.has(POSTPONED) {
        if !M::HAS_OVERFLOW {
            return true;
        }
        http2.requests.direction.flags &= !POSTPONED;
        http2.begin_postponed(meter);
    }
    if !http2.is_read() || http2.way(side).direction.has(flag::UNREADABLE) {
        let direction = &mut http2.way(side).direction;
        direction.window.clear();
        direction.next = segment.first.wrapping_add(segment.length);
        return false;
    }
    let more = match http2.way(side).direction.phase_now() {
        phase::HEAD => frame::head(side, http2, packet, meter, segment),
        phase::PAYLOAD => true,
        phase::LAST_STREAM if side == Side::Responses => frame::last_stream(http2, packet, segment),
        _ => block::walk(side, http2, packet, segment),
    };
    let direction = &mut http2.way(side).direction;
    if direction.phase_now() == phase::PAYLOAD {
        let passed = direction.pass(segment, direction.remaining);
        direction.remaining -= passed;
    }
    let direction = &http2.way(side).direction;
    if direction.phase != phase::HEAD && direction.remaining == 0 {
        frame::end(side, http2, meter);
    }
    let direction = &http2.way(side).direction;
    more && (direction.window.unread() != 0
        || segment.left(direction) != 0
        || (side == Side::Requests && direction.has(POSTPONED)))
}

/// Makes the connection opaque if the parser has found data in the segment that it cannot read. Called once, after all
/// steps.
#[inline(always)]
pub fn leave<M: Meter>(side: Side, http2: &mut Http2, meter: &mut M) {
    let direction = &mut http2.way(side).direction;
    if direction.has(flag::UNREADABLE) {
        http2.become_opaque(side, meter);
    }
}
