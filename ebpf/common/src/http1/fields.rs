//! Lines and the fields that say how long a body is.

use super::Line;
use crate::{
    direction::{Direction, Side, flag},
    window::{HIGH, LOWER, Window, equal_bytes, forget, lowest_byte, text},
};

/// Digits of a Content-Length that are read: 2^63 has 19.
const LENGTH_DIGITS: u32 = 19;

/// Hexadecimal digits of a chunk's size that are read. HTTP servers refuse more than 16; a chunk of
/// 2^60 bytes is no chunk.
const CHUNK_DIGITS: u32 = 15;

/// Blanks before or behind a field's value that are looked at; usual is one.
const BLANKS: u32 = 4;

/// Whether the line has nothing on it, so that it ends a head.
#[inline(always)]
pub(super) fn is_empty(window: &Window, line: Line) -> bool {
    line.whole
        && (line.start == line.end
            || (line.start + 1 == line.end && window.byte(line.start) == b'\r'))
}

/// Wanted: every line.
pub(super) const EVERY: u32 = u32::MAX;
/// Wanted: fields that are known here, and the empty line.
pub(super) const KNOWN: u32 = letters(b"ctuk\r\n");
/// Wanted: the empty line.
pub(super) const EMPTY: u32 = letters(b"\r\n");

/// One bit for each of these first bytes, by the lowest five of theirs. Those are the same in a letter's two cases.
const fn letters(bytes: &[u8]) -> u32 {
    let mut letters = 0;
    let mut at = 0;
    while at < bytes.len() {
        letters |= 1 << (bytes[at] & 31);
        at += 1;
    }
    letters
}

/// Whether the line that begins at `at` is one of those wanted.
#[inline(always)]
pub(super) fn are_wanted(side: Side, window: &Window, at: u32) -> bool {
    let wanted = forget(&window.wanted);
    let first = window.eight(at);
    // Most lines are out by their first byte.
    if wanted >> (first & 31) & 1 == 0 {
        return false;
    }
    let byte = first as u8;
    if wanted == EVERY || byte == b'\r' || byte == b'\n' {
        return true;
    }
    if wanted == EMPTY {
        return false;
    }
    let name = first | LOWER;
    if name == text(b"content-") {
        // Not Content-Type, the most frequent of all.
        return window.byte(at + 8) | 0x20 == b'l';
    }
    name == text(b"transfer")
        || match side {
            Side::Requests => {
                name == text(b"user-age") || name == text(b"k-kubele") || name == text(b"k-networ")
            }
            Side::Responses => name == text(b"upgrade:"),
        }
}

/// The first 16 bytes of a field line, letters in lower case.
#[inline(always)]
pub(super) fn name(window: &Window, line: Line) -> (u64, u64) {
    (
        window.eight(line.start) | LOWER,
        window.eight(line.start + 8) | LOWER,
    )
}

/// Notes what a field says of the body's length. `false` where it cannot be understood.
#[inline(always)]
pub(super) fn framing(direction: &mut Direction, line: Line, name: (u64, u64)) -> bool {
    if name.0 == text(b"content-") && name.1 & 0x00ff_ffff_ffff_ffff == text(b"length:\0") {
        let Some(length) = content_length(&direction.window, line) else {
            return false;
        };
        direction.remaining = length;
        direction.flags |= flag::LENGTH;
    } else if name.0 == text(b"transfer")
        && name.1 == text(b"-encodin")
        && (direction.window.eight(line.start + 16) | LOWER) & 0xffff == text(b"g:\0\0\0\0\0\0")
    {
        if !line.whole {
            return false;
        }
        // The last coding named, in the last field of the name, is the outermost one.
        direction.flags &= !(flag::CHUNKED | flag::CODED);
        direction.flags |= if ends_in_chunked(&direction.window, line) {
            flag::CHUNKED
        } else {
            flag::CODED
        };
    }
    true
}

#[inline(always)]
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t' || byte == b'\r'
}

/// How many of eight bytes are blanks in front of the first other one; of eight blanks, 7.
///
/// Without branches: each would be two ways for the verifier to follow.
#[inline(always)]
pub(super) fn leading_blanks(bytes: u64) -> u32 {
    let blanks = equal_bytes(bytes, b' ') | equal_bytes(bytes, b'\t');
    lowest_byte(!blanks & HIGH)
}

/// The number behind `Content-Length:`.
#[inline(always)]
fn content_length(window: &Window, line: Line) -> Option<u64> {
    if !line.whole {
        return None;
    }
    let mut at = line.start + 15;
    for _ in 0..BLANKS {
        if !is_blank(window.byte(at)) {
            break;
        }
        at += 1;
    }
    let first = at;
    let mut value = 0u64;
    for _ in 0..LENGTH_DIGITS {
        let digit = window.byte(at).wrapping_sub(b'0');
        if digit > 9 || at >= line.end {
            break;
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    // A list of equal lengths, "5, 5", is allowed (RFC 9112, 6.3).
    let behind = window.byte(at);
    (at > first && (at >= line.end || is_blank(behind) || behind == b',')).then_some(value)
}

/// Whether the last coding of a `Transfer-Encoding:` is `chunked`.
#[inline(always)]
fn ends_in_chunked(window: &Window, line: Line) -> bool {
    let mut end = line.end;
    for _ in 0..BLANKS {
        if end <= line.start || !is_blank(window.byte(end - 1)) {
            break;
        }
        end -= 1;
    }
    // `transfer-encoding:` is 18 bytes; before the last 7 there is at least its colon.
    let last = window.eight(end.wrapping_sub(8));
    let before = last as u8;
    end >= line.start + 25
        && (last | LOWER) >> 8 == text(b"chunked\0")
        && (is_blank(before) || before == b',' || before == b':')
}

/// The size in a chunk's first line; extensions behind it do not matter. `None` if it is no number.
#[inline(always)]
pub(super) fn chunk_size(window: &Window, line: Line) -> Option<u64> {
    let mut at = line.start;
    let mut size = 0u64;
    for _ in 0..CHUNK_DIGITS {
        let byte = window.byte(at);
        let digit = byte.wrapping_sub(b'0');
        let letter = (byte | 0x20).wrapping_sub(b'a');
        let value = if digit <= 9 {
            digit
        } else if letter <= 5 {
            letter + 10
        } else {
            break;
        };
        if at >= line.end {
            break;
        }
        size = size << 4 | u64::from(value);
        at += 1;
    }
    let behind = window.byte(at);
    (at > line.start && (at >= line.end || is_blank(behind) || behind == b';')).then_some(size)
}
