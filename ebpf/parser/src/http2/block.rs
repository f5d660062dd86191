//! Reads header blocks field by field, without decoding them (RFC 7541, section 6).
//!
//! From a response, Ebb needs the status. From a request, Ebb needs to know whether it is a probe or for an excluded
//! path. The sender sends such a field in full once (see [`super::strings`]). Later the sender may name the field by
//! its index in the table that the sender keeps (see [`super::table`]).

use super::{
    Http2, Way,
    field::{self, form},
    phase,
    strings::{self, LOOKED_AT},
    table::{STATIC, Table},
};
use crate::{
    direction::{Segment, Side},
    packet::{Meter, Packet},
    window::{HIGH, equal_bytes, lowest_byte, widen},
};

/// The current header block, and the known part of its sender's table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Stream of the block; 0 if the block is not counted.
    pub stream: u32,
    /// Phase in which the parser continues at the next frame of this block.
    pub phase: u8,
    /// 1 if the message ends with this header block.
    pub ends: u8,
    /// What the fields of this block that have been read say: a status class, or the reason for which the request is
    /// excluded; 0: neither.
    pub meaning: u8,
    /// Meaning of the current field, with the same values as `meaning`.
    pub(super) field_meaning: u8,
    /// HPACK representation of the current field: one of [`form`].
    pub(super) form: u8,
    /// Number of bits by which the next byte of the integer in `number` is shifted (RFC 7541, 5.1).
    pub(super) shift: u8,
    /// 1 if the current string is a name.
    pub(super) in_name: u8,
    /// 0x80 if the current string is Huffman-coded.
    pub(super) huffman: u8,
    /// Name of the current field: one of [`strings::name`].
    pub(super) name: u8,
    /// Explicit padding, so that the layout has no implicit padding.
    reserved: [u8; 3],
    /// The HPACK integer that is being read: an index, a length, or a table size.
    pub(super) number: u32,
    /// Number of remaining bytes of the current string.
    pub(super) left: u32,
    /// The part of the sender's HPACK table that the parser knows.
    pub(super) table: Table,
}

impl Block {
    /// No header block, and an empty HPACK table.
    pub const ZERO: Self = Self {
        stream: 0,
        phase: 0,
        ends: 0,
        meaning: 0,
        field_meaning: 0,
        form: 0,
        shift: 0,
        in_name: 0,
        huffman: 0,
        name: 0,
        reserved: [0; 3],
        number: 0,
        left: 0,
        table: Table::EMPTY,
    };

    /// Begins a new block.
    #[inline(always)]
    pub(super) fn begin(&mut self, stream: u32, ends: bool) {
        self.stream = stream;
        self.phase = phase::FIELD;
        self.ends = u8::from(ends);
        self.meaning = 0;
        self.left = 0;
    }
}

impl Way {
    /// Returns the number of remaining bytes of the header block in the current frame.
    #[inline(always)]
    fn in_block(&self) -> u64 {
        self.direction
            .remaining
            .saturating_sub(u64::from(self.frame.padding))
    }

    /// Reads the next byte of the block. The caller has checked that the window has such a byte.
    #[inline(always)]
    pub(super) fn take(&mut self) -> u8 {
        let window = &mut self.direction.window;
        let start = widen(&window.start);
        let byte = window.byte(start);
        window.start = start + 1;
        self.direction.remaining = self.direction.remaining.wrapping_sub(1);
        byte
    }

    /// Returns whether the window has an unread byte of the header block.
    #[inline(always)]
    fn has_byte(&self) -> bool {
        widen(&self.direction.window.end) != widen(&self.direction.window.start)
            && self.in_block() != 0
    }
}

/// Continues to read a header block. Returns `false` if there are not enough bytes.
#[inline(always)]
pub(super) fn walk<P: Packet>(side: Side, http2: &mut Http2, packet: &P, segment: Segment) -> bool {
    let way = http2.way(side);
    if way.direction.phase == phase::PAD_LENGTH || way.direction.phase == phase::PREFIX {
        return before(way, packet, segment);
    }
    if way.in_block() == 0 {
        // All remaining bytes of the frame are padding. The next frame of the header block continues in the current
        // phase.
        way.block.phase = way.direction.phase;
        way.direction.phase = phase::PAYLOAD;
        return true;
    }
    if way.direction.phase == phase::REST {
        rest(side, http2, packet, segment);
        return true;
    }
    if way.direction.window.unread() == 0 {
        way.direction.window.clear();
        if !way.direction.load(packet, segment) {
            return false;
        }
    }
    if way.direction.phase == phase::FIELD {
        if side == Side::Requests && !way.block.table.knows_any() {
            skip_indexed(way);
        }
        if way.has_byte() {
            field::begin(side, way);
        }
    } else if way.direction.phase == phase::INDEX {
        field::more(side, way);
    }
    if way.direction.phase_now() == phase::LENGTH && way.has_byte() {
        field::length(way);
    } else if way.direction.phase_now() == phase::MORE_LENGTH && way.has_byte() {
        field::more(side, way);
    }
    if way.direction.phase_now() == phase::STRING {
        return string(side, http2, packet, segment);
    }
    if way.direction.phase_now() == phase::REST && way.block.left == 0 {
        after(side, http2, packet);
    }
    true
}

/// Reads the part of a frame before the fields: the length of the padding, and a priority or a promised stream.
#[inline(always)]
fn before<P: Packet>(way: &mut Way, packet: &P, segment: Segment) -> bool {
    if way.direction.phase == phase::PAD_LENGTH {
        if way.direction.window.unread() == 0 {
            way.direction.window.clear();
            if !way.direction.load(packet, segment) {
                return false;
            }
        }
        way.frame.padding = way.take();
        way.direction.phase = phase::PREFIX;
    }
    let prefix = u64::from(way.frame.prefix);
    let prefix = if prefix < way.direction.remaining {
        prefix
    } else {
        way.direction.remaining
    };
    let passed = way.direction.pass(segment, prefix);
    way.direction.remaining -= passed;
    way.frame.prefix = way.frame.prefix.wrapping_sub(passed as u8);
    if passed == prefix {
        way.direction.phase = phase::FIELD;
    }
    true
}

/// Skips up to eight fields of one byte each. Such a field is an index into a table: the static table of HPACK, or the
/// dynamic table that the sender has filled. Stops before a longer field, and before the two indexes of paths in the
/// static table, because a path can exclude a request. The caller has checked that no entry of the dynamic table
/// matters.
#[inline(always)]
fn skip_indexed(way: &mut Way) {
    let start = widen(&way.direction.window.start);
    let bytes = way.direction.window.eight(start);
    let other = (!bytes & HIGH)
        | equal_bytes(bytes, 0xff)
        | equal_bytes(bytes & 0xfefe_fefe_fefe_fefe, 0x84);
    let mut run = if other == 0 { 8 } else { lowest_byte(other) };
    let unread = way.direction.window.unread();
    if run > unread {
        run = unread;
    }
    let in_block = way.in_block();
    if u64::from(run) > in_block {
        run = in_block as u32;
    }
    way.direction.window.start = start + run;
    way.direction.remaining -= u64::from(run);
}

/// Examines a string, if the string matters and is completely in this frame. Then skips the string.
#[inline(always)]
fn string<P: Packet>(side: Side, http2: &mut Http2, packet: &P, segment: Segment) -> bool {
    let way = http2.way(side);
    if strings::matters(side, way) {
        let left = u64::from(way.block.left);
        let here = way.in_block();
        let here = if left < here { left } else { here };
        let need = if here < u64::from(LOOKED_AT) {
            here as u32
        } else {
            LOOKED_AT
        };
        if way.direction.window.unread() < need {
            way.direction.window.keep();
            if !way.direction.load(packet, segment)
                || widen(&way.direction.window.end).wrapping_sub(widen(&way.direction.window.start))
                    < need
            {
                return false;
            }
        }
        if here >= left {
            strings::look(side, http2, packet);
        }
    }
    http2.way(side).direction.phase = phase::REST;
    rest(side, http2, packet, segment);
    true
}

/// Skips the rest of a string.
#[inline(always)]
fn rest<P: Packet>(side: Side, http2: &mut Http2, packet: &P, segment: Segment) {
    let way = http2.way(side);
    let left = u64::from(way.block.left);
    let here = way.in_block();
    let here = if left < here { left } else { here };
    let passed = way.direction.pass(segment, here);
    way.direction.remaining -= passed;
    way.block.left = way.block.left.wrapping_sub(passed as u32);
    if widen(&way.block.left) == 0 {
        after(side, http2, packet);
    }
}

/// Continues to read a header block after the end of a string, or after a field that has no string.
#[inline(always)]
fn after<P: Packet>(side: Side, http2: &mut Http2, packet: &P) {
    let way = http2.way(side);
    if way.block.in_name != 0 {
        way.block.in_name = 0;
        way.direction.phase = phase::LENGTH;
        return;
    }
    way.direction.phase = phase::FIELD;
    match way.block.form {
        form::INDEXED => {
            let index = way.block.number;
            let meaning = if index > STATIC {
                way.block.table.recall(index)
            } else {
                strings::static_meaning(side, http2, packet, index)
            };
            http2.way(side).block.field_meaning = meaning;
        }
        form::INSERTED => {
            let meaning = way.block.field_meaning;
            way.block.table.insert(meaning);
        }
        form::RESIZE => return,
        _ => {}
    }
    let way = http2.way(side);
    way.block.meaning |= way.block.field_meaning;
    if side == Side::Responses && !way.block.table.knows_any() {
        // The rest of the block is not needed. The status is the first field (RFC 9113, 8.3), so no later field is a
        // status. No known entry of the table has a meaning, so later insertions need not be tracked.
        way.block.phase = phase::PAYLOAD;
        way.direction.phase = phase::PAYLOAD;
    }
}

/// Handles the end of a header block.
#[inline(always)]
pub(super) fn end<M: Meter>(side: Side, http2: &mut Http2, meter: &mut M) {
    let block = &http2.way(side).block;
    let (stream, meaning, ends) = (block.stream, block.meaning, block.ends != 0);
    if stream == 0 {
        return;
    }
    match side {
        Side::Requests => {
            if meaning != 0 {
                http2.exclude(meter, stream);
            }
        }
        Side::Responses => {
            if ends {
                http2.end(meter, stream, meaning);
            } else {
                http2.answered(meter, stream, meaning);
            }
        }
    }
}
