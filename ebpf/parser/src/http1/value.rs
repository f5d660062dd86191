//! Reads values byte by byte: those that are not in the usual form, for which `fields` has faster code.
//!
//! RFC 9110, 5.5, and RFC 9112, 7.1, allow any number of blanks around a value, and any number of leading zeros. A
//! value may also continue on the next line, if that line begins with a blank (RFC 9112, 5.2). Such values are rare, so
//! the code is small rather than fast. Failure mode: a value that is not a number makes the connection opaque.

use super::{
    Line,
    fields::{is_blank, leading_blanks},
    read_again, set_chunk_size,
};
use crate::direction::{Direction, Side, flag, phase};

/// The meaning of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Value {
    /// The value of `Content-Length`: a decimal number.
    Length = 1,
    /// The value of `Transfer-Encoding`: a list of codings. Only the last one matters.
    Coding = 2,
    /// The size of a chunk: a hexadecimal number.
    Size = 3,
}

/// The bits of `Direction::detail` that hold the [`Value`].
const KIND: u8 = 3;
/// Of a number: a digit has been read. Of codings: the last byte that was read is a blank.
const SEEN: u8 = 1 << 2;
/// The line has ended. The next byte decides whether the value has ended, too.
const LINE_ENDED: u8 = 1 << 3;

/// Of a length: its last digit has been read.
const DIGITS_ENDED: u8 = 1 << 4;

/// A number up to this one stays below 2^64 if one more digit follows.
const LARGEST: u64 = u64::MAX / 16 - 1;

/// The last eight bytes of a list of codings, if `chunked` is its only coding. The first of them is in the highest
/// bits.
const CHUNKED: u64 = u64::from_be_bytes(*b"\0chunked");

/// Begins to read a value. The value begins `offset` bytes after the beginning of the current line.
#[inline(always)]
pub(super) fn begin(side: Side, direction: &mut Direction, value: Value, line: Line, offset: u32) {
    read_again(direction, line, offset);
    direction.phase = phase::VALUE;
    direction.detail = value as u8;
    if side == Side::Requests && value == Value::Length && direction.has(flag::LENGTH) {
        keep_length(direction);
    }
    direction.remaining = 0;
}

/// Keeps the length of a request's body that has just been read, to compare it with another one: servers disagree on
/// which of two different lengths is valid (RFC 9112, 6.3, case 5). A request has no status, so its field is free.
#[inline(always)]
fn keep_length(direction: &mut Direction) {
    let kept = direction.remaining.wrapping_add(1);
    if direction.status != 0 && direction.status != kept {
        direction.flags |= flag::UNREADABLE;
    }
    direction.status = kept;
}

/// Reads the next byte of a value, or the blanks before it.
#[inline(always)]
pub(super) fn step(side: Side, direction: &mut Direction) {
    let detail = direction.detail_now();
    let window = &mut direction.window;
    let is_coding = detail & KIND == Value::Coding as u8;
    let blanks = leading_blanks(window.eight(window.start));
    // A blank after a digit is the end of the number, and is read as a byte.
    if blanks != 0 && (is_coding || detail & SEEN == 0 || detail & DIGITS_ENDED != 0) {
        let unread = window.unread();
        window.start += if blanks < unread { blanks } else { unread };
        let seen = if is_coding { SEEN } else { 0 };
        direction.detail = (detail & !LINE_ENDED) | seen;
        return;
    }
    if detail & LINE_ENDED != 0 {
        return end(side, direction, detail);
    }
    let byte = window.byte(window.start);
    window.start += 1;
    if is_coding {
        coding(direction, byte, detail);
    } else {
        digit(side, direction, byte, detail);
    }
}

/// Reads one byte of a number.
#[inline(always)]
fn digit(side: Side, direction: &mut Direction, byte: u8, detail: u8) {
    let is_size = detail & KIND == Value::Size as u8;
    let decimal = byte.wrapping_sub(b'0');
    let letter = (byte | 0x20).wrapping_sub(b'a');
    let base = if is_size { 16 } else { 10 };
    let value = if decimal <= 9 {
        decimal
    } else {
        letter.wrapping_add(10)
    };
    if decimal <= 9 || (is_size && letter <= 5) {
        if direction.remaining > LARGEST || detail & DIGITS_ENDED != 0 {
            direction.flags |= flag::UNREADABLE;
        }
        direction.remaining = direction
            .remaining
            .wrapping_mul(base)
            .wrapping_add(u64::from(value));
        direction.detail = detail | SEEN;
    } else if detail & SEEN == 0 {
        if byte == b'\n' && !is_size {
            direction.detail = detail | LINE_ENDED;
        } else if byte != b'\r' {
            direction.flags |= flag::UNREADABLE;
        }
    } else if is_size {
        // The chunk extensions follow.
        if !is_blank(byte) && byte != b'\n' && byte != b';' {
            direction.flags |= flag::UNREADABLE;
        }
        if byte != b'\n' {
            direction.flags |= flag::SKIP_LINE;
        }
        end(side, direction, detail);
    } else if byte == b'\n' {
        direction.detail = detail | DIGITS_ENDED | LINE_ENDED;
    } else if byte == b',' {
        // A list of equal lengths, "5, 5", is allowed (RFC 9110, 8.6).
        if side == Side::Requests {
            keep_length(direction);
        }
        direction.remaining = 0;
        direction.detail = detail & !(SEEN | DIGITS_ENDED);
    } else {
        if !is_blank(byte) {
            direction.flags |= flag::UNREADABLE;
        }
        direction.detail = detail | DIGITS_ENDED;
    }
}

/// Reads one byte of a list of codings. `remaining` holds the last eight bytes of the list, with letters in lower case,
/// with one blank for several, and without blanks behind a comma.
#[inline(always)]
fn coding(direction: &mut Direction, byte: u8, detail: u8) {
    if byte == b'\n' {
        direction.detail = detail | LINE_ENDED;
    } else if byte != b'\r' {
        let last = direction.remaining;
        let last = if detail & SEEN != 0 && last != 0 && last as u8 != b',' {
            last << 8 | u64::from(b' ')
        } else {
            last
        };
        direction.remaining = last << 8 | u64::from(byte.to_ascii_lowercase());
        direction.detail = detail & !SEEN;
    }
}

/// Records a value that has been read.
#[inline(always)]
fn end(side: Side, direction: &mut Direction, detail: u8) {
    direction.detail = 0;
    direction.phase = phase::HEAD;
    if detail & KIND == Value::Coding as u8 {
        let before = (direction.remaining >> 56) as u8;
        let is_chunked =
            direction.remaining & (u64::MAX >> 8) == CHUNKED && (before == 0 || before == b',');
        direction.flags |= if is_chunked {
            flag::CHUNKED
        } else {
            flag::CODED
        };
    } else if detail & SEEN == 0 {
        direction.flags |= flag::UNREADABLE;
    } else if detail & KIND == Value::Size as u8 {
        set_chunk_size(side, direction, direction.remaining);
    } else {
        if side == Side::Requests && direction.status != 0 {
            keep_length(direction);
        }
        direction.flags |= flag::LENGTH;
    }
}
