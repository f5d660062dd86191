//! Reads lines of a head, and the fields that define the length of a body.

use super::{
    Line,
    value::{self, Value},
};
use crate::{
    direction::{Direction, Side, flag},
    window::{CARRY, HIGH, LOW, LOWER, ONES, Window, equal_bytes, lowest_byte, text, widen},
};

/// Maximum number of digits of a Content-Length that are read at once: 2^63 has 19 digits.
const LENGTH_DIGITS: u32 = 19;

/// Maximum number of hexadecimal digits of a chunk size that are read at once. No real chunk has 2^60 bytes.
const CHUNK_DIGITS: u32 = 15;

/// Returns whether the line is empty: an empty line ends a head.
#[inline(always)]
pub(super) fn is_empty(window: &Window, line: Line) -> bool {
    line.whole
        && (line.start == line.end
            || (line.start + 1 == line.end && window.byte(line.start) == b'\r'))
}

/// Line filter: every line.
pub(super) const EVERY: u32 = u32::MAX;
/// Line filter: the empty line.
pub(super) const EMPTY: u32 = letters(b"\r\n");

/// Returns the line filter for a header section: it passes the lines with fields that the parser knows, and the empty
/// line that ends the section.
#[inline(always)]
pub(super) const fn known(side: Side) -> u32 {
    match side {
        Side::Requests => letters(b"cteuk\r\n"),
        Side::Responses => letters(b"ctu\r\n"),
    }
}

/// Returns a set of first bytes. In the set, each byte is one bit, selected by the byte's lowest five bits, which are
/// the same for capital and small letters.
const fn letters(bytes: &[u8]) -> u32 {
    let mut letters = 0;
    let mut at = 0;
    while at < bytes.len() {
        letters |= 1 << (bytes[at] & 31);
        at += 1;
    }
    letters
}

/// Returns whether the line that begins at `at` is one of the lines that the caller reads (`Window::line_filter`).
#[inline(always)]
pub(super) fn passes_filter(side: Side, window: &Window, at: u32) -> bool {
    let filter = widen(&window.line_filter);
    let first = window.eight(at);
    // For most lines, the first byte shows that the line does not pass.
    if filter >> (first & 31) & 1 == 0 {
        return false;
    }
    let byte = first as u8;
    if filter == EVERY || byte == b'\r' || byte == b'\n' {
        return true;
    }
    if filter == EMPTY {
        return false;
    }
    let name = first | LOWER;
    if name == text(b"content-") {
        // Content-Type, the most frequent field of all, does not pass: its next letter is not an `l`.
        return window.byte(at + 8) | 0x20 == b'l';
    }
    name == text(b"transfer")
        || match side {
            Side::Requests => {
                name == text(b"user-age")
                    || name == text(b"k-kubele")
                    || name == text(b"k-networ")
                    || is_expect(name)
            }
            Side::Responses => name == text(b"upgrade:"),
        }
}

/// Returns the first 16 bytes of a field line as two words, with letters in lower case.
#[inline(always)]
pub(super) fn name(window: &Window, line: Line) -> (u64, u64) {
    (
        window.eight(line.start) | LOWER,
        window.eight(line.start + 8) | LOWER,
    )
}

/// Returns whether the first eight bytes of a line, with letters in lower case, name the field `Expect`.
#[inline(always)]
pub(super) fn is_expect(name: u64) -> bool {
    name & 0x00ff_ffff_ffff_ffff == text(b"expect:\0")
}

/// Number of bytes of the name `Content-Length:`.
const LENGTH_NAME: u32 = 15;

/// Number of bytes of the name `Transfer-Encoding:`.
const CODING_NAME: u32 = 18;

/// Records the length of the body, if the field defines it. A value in an unusual form is read byte by byte, by the
/// steps that follow. In a request, a field that servers understand differently makes the connection opaque.
#[inline(always)]
pub(super) fn framing(side: Side, direction: &mut Direction, line: Line, name: (u64, u64)) {
    let window = &direction.window;
    if name.0 == text(b"content-") && name.1 & 0x0000_ffff_ffff_ffff == text(b"length\0\0") {
        if !is_name(window, line.start + 7, line.start + 14) {
            return not_a_name(side, direction, line.start + 14);
        }
        match content_length(window, line) {
            Some(length) if !may_be_folded(side, window) => {
                if direction.has(flag::LENGTH) && direction.remaining != length {
                    // It is not certain which length is valid (RFC 9112, 6.3, case 5).
                    direction.flags |= unknown_end(side);
                }
                direction.remaining = length;
                direction.flags |= flag::LENGTH;
            }
            _ => value::begin(side, direction, Value::Length, line, LENGTH_NAME),
        }
    } else if name.0 == text(b"transfer")
        && name.1 == text(b"-encodin")
        && window.byte(line.start + 16) | 0x20 == b'g'
    {
        if !is_name(window, line.start + 8, line.start + 17) {
            return not_a_name(side, direction, line.start + 17);
        }
        // The outermost coding is the last coding in the last Transfer-Encoding field, so a later field replaces an
        // earlier one.
        direction.flags &= !(flag::CHUNKED | flag::CODED);
        if is_chunked(&direction.window, line) && !may_be_folded(side, &direction.window) {
            direction.flags |= flag::CHUNKED;
        } else {
            value::begin(side, direction, Value::Coding, line, CODING_NAME);
        }
    }
}

/// Returns whether there is a hyphen at `hyphen` and a colon at `colon`. Words in lower case do not show this: other
/// bytes become a hyphen or a colon if their bit for lower case is set.
#[inline(always)]
fn is_name(window: &Window, hyphen: u32, colon: u32) -> bool {
    (window.byte(hyphen) ^ b'-') | (window.byte(colon) ^ b':') == 0
}

/// Handles a field name that resembles `Content-Length` or `Transfer-Encoding`, but lacks the hyphen or the colon. With
/// a blank before the colon (at `colon`), some programs accept the field, and others ignore it (RFC 9112, 5.1).
#[inline(always)]
fn not_a_name(side: Side, direction: &mut Direction, colon: u32) {
    if is_blank(direction.window.byte(colon)) {
        direction.flags |= unknown_end(side);
    }
}

/// Returns the flag of a message whose end cannot be found. A client could hide a request in such a request, so it
/// makes the connection opaque. Such a response ends at the latest when the next request arrives.
#[inline(always)]
fn unknown_end(side: Side) -> u16 {
    match side {
        Side::Requests => flag::UNREADABLE,
        Side::Responses => flag::CODED,
    }
}

/// Returns whether the value of the current line may continue on the next line (RFC 9112, 5.2), or whether the next
/// line has not arrived yet.
#[inline(always)]
fn may_be_folded(side: Side, window: &Window) -> bool {
    let next = window.byte(window.start);
    side == Side::Requests && (window.unread() == 0 || next == b' ' || next == b'\t')
}

#[inline(always)]
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t' || byte == b'\r'
}

/// Returns how many of eight bytes are blanks before the first byte that is not a blank; 7 if all eight are blanks.
///
/// The code has no branches: the verifier would follow two paths for each branch.
#[inline(always)]
pub(super) fn leading_blanks(bytes: u64) -> u32 {
    let blanks = equal_bytes(bytes, b' ') | equal_bytes(bytes, b'\t');
    lowest_byte(!blanks & HIGH)
}

/// Returns the end of a line without the blanks at its end.
#[inline(always)]
pub(super) fn trimmed(window: &Window, line: Line) -> u32 {
    let mut end = line.end;
    for _ in 0..CARRY / 8 {
        if end < line.start + 8 {
            break;
        }
        let blanks = trailing_blanks(window.eight(end - 8));
        end -= blanks;
        if blanks < 8 {
            break;
        }
    }
    end
}

/// Returns how many of eight bytes are blanks after the last byte that is not a blank.
#[inline(always)]
fn trailing_blanks(bytes: u64) -> u32 {
    let blanks = equal_bytes(bytes, b' ') | equal_bytes(bytes, b'\t') | equal_bytes(bytes, b'\r');
    // The bytes in reverse order: the last byte of the text is in the lowest bits.
    let others = (!blanks & HIGH).swap_bytes();
    if others == 0 { 8 } else { lowest_byte(others) }
}

/// Returns the value of a `Content-Length:` line, or `None` if the value is not a number in the usual form: at most
/// seven blanks, then at most 19 digits, then the end of the line.
#[inline(always)]
fn content_length(window: &Window, line: Line) -> Option<u64> {
    if !line.whole {
        return None;
    }
    let mut at = line.start + LENGTH_NAME;
    at += leading_blanks(window.eight(at));
    // The newline at the end of the line is no digit, so the digits end within the line.
    let first = at;
    let digits = window.eight(at) ^ text(b"00000000");
    let others = no_digits(digits);
    let count = if others == 0 { 8 } else { lowest_byte(others) };
    let mut value = eight_digits(digits.wrapping_shl(64 - 8 * count));
    at += count;
    if count == 8 {
        for _ in 8..LENGTH_DIGITS {
            let digit = window.byte(at).wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
    }
    let behind = at + u32::from(window.byte(at) == b'\r');
    (at > first && behind >= line.end).then_some(value)
}

/// Returns the high bit of each byte that is greater than 9.
#[inline(always)]
fn no_digits(bytes: u64) -> u64 {
    (((bytes & LOW) + ONES * (0x7f - 9)) | bytes) & HIGH
}

/// Returns the number with these eight digits, each 0 to 9. The first digit is in the lowest bits. The code combines
/// two, then four, then eight digits (Daniel Lemire, "Quickly parsing eight digits", 2018).
#[inline(always)]
fn eight_digits(digits: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0xff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let left = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let right = (pairs >> 16 & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    left.wrapping_add(right) >> 32
}

/// Returns whether the only coding of a `Transfer-Encoding:` is `chunked`, in the usual form: after the colon and at
/// most one blank, with no blank behind it.
#[inline(always)]
fn is_chunked(window: &Window, line: Line) -> bool {
    let end = line.end - u32::from(window.byte(line.end.wrapping_sub(1)) == b'\r');
    let last = window.eight(end.wrapping_sub(8));
    let before = last as u8;
    let blanks = u32::from(is_blank(before));
    line.whole
        && end == line.start + CODING_NAME + 7 + blanks
        && (last | LOWER) >> 8 == text(b"chunked\0")
}

/// Returns the size in the first line of a chunk, without the chunk extensions. Returns `None` if the size is not a
/// number in the usual form: no blanks before it, and at most 15 digits.
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{format, string::String};

    /// Returns the length that the parser reads from the complete line `Content-Length:` with this value.
    fn read(value: &str) -> Option<u64> {
        let text = format!("Content-Length:{value}\r\n");
        let line = Line {
            start: 0,
            end: text.len() as u32 - 1,
            whole: true,
        };
        content_length(&Window::holding(0, text.as_bytes()), line)
    }

    #[test]
    fn lengths_of_all_sizes() {
        let digits = "9080706050403020109";
        for count in 1..=LENGTH_DIGITS as usize {
            for first in 0..=digits.len() - count {
                let number = &digits[first..first + count];
                let expected = Some(number.parse().unwrap());
                for (before, behind) in [("", ""), (" ", ""), ("\t ", ""), ("       ", "")] {
                    let value = format!("{before}{number}{behind}");
                    assert_eq!(read(&value), expected, "{value:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_length() {
        for value in [
            "",
            " ",
            "-1",
            "5 ",
            "5, 5",
            "5 5",
            "5\t",
            "x",
            "+5",
            ",5",
            "0x5",
            "5;",
            "5.0",
            "12345678x",
            "\u{b2}",
        ] {
            assert_eq!(read(value), None, "{value:?}");
        }
        let more: String = ["9"; LENGTH_DIGITS as usize + 1].concat();
        assert_eq!(read(&more), None);
    }
}
