//! Reads a field up to its strings: its representation, the index of its name, and the length of a string (RFC 7541,
//! sections 5 and 6).
//!
//! A field is read byte by byte, because each of its HPACK integers can be split between two packets or two frames. An
//! HPACK integer with more than four continuation bytes, which no known implementation sends, makes the connection
//! opaque (see `MAX_SHIFT`).

use super::{Way, phase, strings, table::STATIC};
use crate::direction::{Side, flag};

/// HPACK representations of a header field.
pub(super) mod form {
    /// The field is an index into the tables.
    pub(crate) const INDEXED: u8 = 0;
    /// The field is a literal that is inserted into the table.
    pub(crate) const INSERTED: u8 = 1;
    /// The field is a literal that is not inserted into the table.
    pub(crate) const LITERAL: u8 = 2;
    /// A new size of the HPACK table, which is not a field.
    pub(crate) const RESIZE: u8 = 3;
}

/// Maximum shift of the next byte of an HPACK integer. An integer that needs a larger shift is greater than 2^28, and
/// makes the connection opaque.
const MAX_SHIFT: u8 = 21;

/// Reads the first byte of a field.
#[inline(always)]
pub(super) fn begin(side: Side, way: &mut Way) {
    let byte = way.take();
    let block = &mut way.block;
    let (form, mask) = if byte & 0x80 != 0 {
        (form::INDEXED, 0x7f)
    } else if byte & 0x40 != 0 {
        (form::INSERTED, 0x3f)
    } else if byte & 0x20 != 0 {
        (form::RESIZE, 0x1f)
    } else {
        (form::LITERAL, 0x0f)
    };
    block.form = form;
    block.field_meaning = 0;
    block.in_name = 0;
    block.number = u32::from(byte & mask);
    block.shift = 0;
    if byte & mask == mask {
        way.direction.phase = phase::INDEX;
    } else {
        indexed(side, way);
    }
}

/// Reads a further byte of an HPACK integer (RFC 7541, 5.1).
#[inline(always)]
pub(super) fn more(side: Side, way: &mut Way) {
    let byte = way.take();
    let block = &mut way.block;
    block.number = block
        .number
        .wrapping_add(u32::from(byte & 0x7f) << (block.shift & 31));
    block.shift += 7;
    if byte & 0x80 != 0 {
        if block.shift > MAX_SHIFT {
            way.direction.flags |= flag::UNREADABLE;
        }
    } else if way.direction.phase == phase::INDEX {
        indexed(side, way);
    } else {
        string_begins(way);
    }
}

/// Handles the HPACK integer at the beginning of a field, once all its bytes have been read.
#[inline(always)]
fn indexed(side: Side, way: &mut Way) {
    let block = &mut way.block;
    if block.form == form::INDEXED || block.form == form::RESIZE {
        block.left = 0;
        way.direction.phase = phase::REST;
    } else {
        let index = block.number;
        block.in_name = u8::from(index == 0);
        block.name = if index > STATIC {
            block.table.recall(index)
        } else {
            strings::static_name(side, index)
        };
        way.direction.phase = phase::LENGTH;
    }
}

/// Reads the first byte of a string's length.
#[inline(always)]
pub(super) fn length(way: &mut Way) {
    let byte = way.take();
    let block = &mut way.block;
    block.huffman = byte & 0x80;
    block.number = u32::from(byte & 0x7f);
    block.shift = 0;
    if byte & 0x7f == 0x7f {
        way.direction.phase = phase::MORE_LENGTH;
    } else {
        string_begins(way);
    }
}

#[inline(always)]
fn string_begins(way: &mut Way) {
    way.block.left = way.block.number;
    way.direction.phase = phase::STRING;
}
