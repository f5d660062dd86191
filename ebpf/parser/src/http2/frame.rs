//! Reads frames, and finds the streams that begin and end (RFC 9113, sections 4 and 6).

use super::{FIRST_FRAME, Http2, block, life, phase};
use crate::{
    direction::{Segment, Side, flag},
    packet::{Meter, Packet},
    window::widen,
};

/// Number of bytes of a frame's head.
const HEAD: u32 = 9;

/// Types of frames (RFC 9113, section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Number of bytes of the priority fields before a header block.
const PRIORITY_BYTES: u8 = 5;

/// Number of bytes of the promised stream's identifier before a header block.
const PROMISED_BYTES: u8 = 4;

/// Number of bytes of the last stream identifier in a GOAWAY.
const LAST_STREAM_BYTES: u64 = 4;

/// The current frame.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Stream of the frame.
    pub stream: u32,
    /// Type of the frame.
    pub kind: u8,
    /// Flags of the frame.
    pub flags: u8,
    /// Number of bytes of padding after the frame's header block.
    pub padding: u8,
    /// Number of remaining bytes before the frame's header block.
    pub prefix: u8,
}

impl Frame {
    /// The state before the first frame.
    pub const ZERO: Self = Self {
        stream: 0,
        kind: 0,
        flags: 0,
        padding: 0,
        prefix: 0,
    };
}

/// Reads the head of a frame. Returns `false` if the head has not arrived completely.
#[inline(always)]
pub(super) fn head<P: Packet, M: Meter>(
    side: Side,
    http2: &mut Http2,
    packet: &P,
    meter: &mut M,
    segment: Segment,
) -> bool {
    let way = http2.way(side);
    let direction = &mut way.direction;
    if direction.window.unread() < HEAD {
        direction.window.keep();
        if !direction.load(packet, segment) {
            return false;
        }
        if widen(&direction.window.end).wrapping_sub(widen(&direction.window.start)) < HEAD {
            return false;
        }
    }
    let start = widen(&direction.window.start);
    let first = direction.window.eight(start);
    let last = direction.window.byte(start + 8);
    direction.window.start = start + HEAD;
    direction.remaining = (first & 0xff) << 16 | (first & 0xff00) | (first >> 16 & 0xff);
    direction.phase = phase::PAYLOAD;
    // The stream identifier is in network byte order, with one reserved bit.
    let stream = u32::from_be((first >> 40) as u32 | u32::from(last) << 24) & 0x7fff_ffff;
    let kind = (first >> 24) as u8;
    let flags = (first >> 32) as u8;
    way.frame.stream = stream;
    way.frame.kind = kind;
    way.frame.flags = flags;
    way.frame.padding = 0;
    way.frame.prefix = 0;
    if way.direction.has(FIRST_FRAME) {
        way.direction.flags &= !FIRST_FRAME;
        if kind != kind::SETTINGS {
            way.direction.flags |= flag::UNREADABLE;
            // The end of this frame must not be handled, even if the whole frame has arrived.
            way.direction.phase = phase::HEAD;
            return true;
        }
    }
    match kind {
        kind::HEADERS => {
            way.block.begin(stream, flags & END_STREAM != 0);
            if flags & PRIORITY != 0 {
                way.frame.prefix = PRIORITY_BYTES;
            }
        }
        kind::PUSH_PROMISE => {
            // The server itself makes the promised request, so the request is not counted. But the header fields of the
            // promise must be read, because they change the server's table.
            way.block.begin(0, false);
            way.frame.prefix = PROMISED_BYTES;
        }
        kind::CONTINUATION => {
            way.direction.phase = way.block.phase;
            return true;
        }
        kind::RST_STREAM => {
            match side {
                Side::Requests => http2.reset(meter, stream),
                Side::Responses => http2.end(meter, stream, life::RESET),
            }
            return true;
        }
        kind::GOAWAY if side == Side::Responses && way.direction.remaining >= LAST_STREAM_BYTES => {
            way.direction.phase = phase::LAST_STREAM;
            return true;
        }
        _ => return true,
    }
    way.direction.phase = if flags & PADDED != 0 {
        phase::PAD_LENGTH
    } else if way.frame.prefix != 0 {
        phase::PREFIX
    } else {
        phase::FIELD
    };
    if kind == kind::HEADERS && side == Side::Requests {
        http2.begin(meter, stream);
    }
    true
}

/// Reads the last stream identifier of a GOAWAY of the server: the server will not answer streams above it. Returns
/// `false` if the identifier has not arrived completely.
#[inline(always)]
pub(super) fn last_stream<P: Packet>(http2: &mut Http2, packet: &P, segment: Segment) -> bool {
    let direction = &mut http2.responses.direction;
    if u64::from(direction.window.unread()) < LAST_STREAM_BYTES {
        direction.window.keep();
        if !direction.load(packet, segment)
            || u64::from(widen(&direction.window.end).wrapping_sub(widen(&direction.window.start)))
                < LAST_STREAM_BYTES
        {
            return false;
        }
    }
    let start = widen(&direction.window.start);
    let last = u32::from_be(direction.window.eight(start) as u32) & 0x7fff_ffff;
    direction.window.start = start + LAST_STREAM_BYTES as u32;
    direction.remaining -= LAST_STREAM_BYTES;
    direction.phase = phase::PAYLOAD;
    http2.refuse_above(last);
    true
}

/// Handles the end of a frame.
#[inline(always)]
pub(super) fn end<M: Meter>(side: Side, http2: &mut Http2, meter: &mut M) {
    let way = http2.way(side);
    let phase = way.direction.phase;
    way.direction.phase = phase::HEAD;
    let (kind, flags) = (way.frame.kind, way.frame.flags);
    match kind {
        kind::DATA if side == Side::Responses && flags & END_STREAM != 0 => {
            let stream = way.frame.stream;
            http2.end(meter, stream, 0);
        }
        kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
            if phase != phase::PAYLOAD {
                way.block.phase = phase;
            }
            if flags & END_HEADERS != 0 {
                block::end(side, http2, meter);
            }
        }
        _ => {}
    }
}
