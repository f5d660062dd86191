//! The few bytes of a stream that a parser looks at, as 64-bit words.
//!
//! A window lives in the connection's socket storage, not on the stack or in per-CPU memory: the
//! stack cannot be read at a variable offset before 5.12, and a program on the way out can be
//! interrupted by another one on the same CPU.

/// Bytes of an unfinished line that are kept for the next packet. A longer line is judged by these.
pub const CARRY: u32 = 56;

/// Most bytes loaded at once.
pub const LOAD: u32 = 192;

/// Size of a window: what is kept, what is loaded, and one word that is read past the end. A power
/// of two, so that an index is bounded by a mask, which costs the verifier no second path.
pub const WORDS: usize = ((CARRY + LOAD) / 8) as usize + 1;
const _: () = assert!(WORDS.is_power_of_two());

/// Bytes under examination: those at `start .. end` are unread.
///
/// The line found last is kept here, too, and read back from here: a number that has been in memory
/// is just a number to the verifier, so that all the ways by which it may have come about are one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First unread byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
    /// The line at hand: its first byte.
    line_start: u32,
    /// The line at hand: behind its last byte.
    line_end: u32,
    /// The bytes. Public only for the kernel's load; others use the methods.
    pub words: [u64; WORDS],
}

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;

impl Window {
    /// A window without bytes.
    pub const EMPTY: Self = Self {
        start: 0,
        end: 0,
        line_start: 0,
        line_end: 0,
        words: [0; WORDS],
    };

    /// Unread bytes.
    #[inline(always)]
    pub fn unread(&self) -> u32 {
        self.end.wrapping_sub(self.start)
    }

    /// Forgets all bytes.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    #[inline(always)]
    fn word(&self, index: u32) -> u64 {
        self.words[index as usize & (WORDS - 1)]
    }

    /// The eight bytes from `at`, the first in the lowest bits.
    #[inline(always)]
    pub fn eight(&self, at: u32) -> u64 {
        let shift = (at & 7) * 8;
        let index = at >> 3;
        // Two shifts: one by 64 would be undefined where `shift` is 0.
        (self.word(index) >> shift) | ((self.word(index + 1) << 1) << (63 - shift))
    }

    /// The byte at `at`.
    #[inline(always)]
    pub fn byte(&self, at: u32) -> u8 {
        (self.word(at >> 3) >> ((at & 7) * 8)) as u8
    }

    /// Reads the next line, if its newline is among the unread bytes; [`Self::line`] tells where it is.
    #[inline(always)]
    pub fn read_line(&mut self) -> bool {
        let first = self.start >> 3;
        // Bytes before `start` do not count.
        let mut unread = u64::MAX << ((self.start & 7) * 8);
        self.line_end = u32::MAX;
        for step in 0..WORDS as u32 {
            let index = first + step;
            if index * 8 >= self.end {
                break;
            }
            let found = equal_bytes(self.word(index), b'\n') & unread;
            if found != 0 {
                self.line_end = index * 8 + lowest_byte(found);
                break;
            }
            unread = u64::MAX;
        }
        let end = forget(&self.line_end);
        if end >= self.end {
            return false;
        }
        self.line_start = self.start;
        self.start = end + 1;
        true
    }

    /// Reads all there is as the beginning of a line that does not end here.
    #[inline(always)]
    pub fn read_beginning(&mut self) {
        self.line_start = self.start;
        self.line_end = self.end;
        self.clear();
    }

    /// Where the line at hand begins and ends, without its newline.
    #[inline(always)]
    pub fn line(&self) -> (u32, u32) {
        (forget(&self.line_start), forget(&self.line_end))
    }

    /// Moves the unread bytes, at most [`CARRY`] of them, to the front.
    #[inline(always)]
    pub fn keep(&mut self) {
        let unread = self.unread();
        if self.start == 0 {
            return;
        }
        for index in 0..(CARRY / 8) {
            let word = self.eight(self.start + index * 8);
            self.words[index as usize] = word;
        }
        self.start = 0;
        self.end = unread;
    }
}

/// A number as it is in memory, whatever the compiler or the verifier know of how it got there.
#[inline(always)]
pub(crate) fn forget(number: &u32) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}

/// The high bit of each byte that is equal to `byte`, exactly (no borrow from one byte to the next).
#[inline(always)]
pub(crate) fn equal_bytes(word: u64, byte: u8) -> u64 {
    let word = word ^ (ONES * byte as u64);
    !(((word & LOW) + LOW) | word | LOW)
}

/// Index of the lowest byte whose high bit is set; `high_bits` is not 0.
#[inline(always)]
pub(crate) fn lowest_byte(high_bits: u64) -> u32 {
    // Below the lowest set bit 8k+7 all bits are 1: k+1 bytes with their bit 0 set, summed by the product.
    let below = high_bits.wrapping_sub(1) & !high_bits;
    (((below & ONES).wrapping_mul(ONES) >> 56) as u32).wrapping_sub(1)
}

/// Eight bytes of text as a word.
#[inline(always)]
pub const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Sets the bit that makes ASCII letters lower case. `-`, `:`, space and digits keep theirs.
pub const LOWER: u64 = 0x2020_2020_2020_2020;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    fn window(start: u32, bytes: &[u8]) -> Window {
        let mut window = Window {
            start,
            end: bytes.len() as u32,
            ..Window::EMPTY
        };
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            window.words[index] = u64::from_le_bytes(word);
        }
        window
    }

    #[test]
    fn newline_agrees_with_a_byte_search() {
        // 0x0b after 0x0a is where the usual trick with a borrow goes wrong.
        let text: Vec<u8> = b"ab\n\x0b\x8a\n0123456789\n\n\x0b"
            .iter()
            .copied()
            .cycle()
            .take(200)
            .collect();
        for start in 0..200u32 {
            let expected = text[start as usize..]
                .iter()
                .position(|b| *b == b'\n')
                .map(|n| n as u32 + start);
            let mut window = window(start, &text);
            let found = window.read_line().then(|| window.line());
            assert_eq!(found, expected.map(|end| (start, end)), "from {start}");
        }
    }

    #[test]
    fn stale_bytes_behind_the_end_are_not_seen() {
        let mut window = window(0, b"abc\ndef");
        window.end = 3;
        assert!(!window.read_line());
    }

    #[test]
    fn eight_reads_at_any_alignment() {
        let bytes: Vec<u8> = (0..64).collect();
        for at in 0..56u32 {
            let expected =
                u64::from_le_bytes(bytes[at as usize..at as usize + 8].try_into().unwrap());
            assert_eq!(window(0, &bytes).eight(at), expected);
        }
    }

    #[test]
    fn keep_moves_the_rest_to_the_front() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut window = window(61, &bytes);
        window.keep();
        assert_eq!((window.start, window.end), (0, 39));
        for at in 0..39 {
            assert_eq!(window.byte(at), at as u8 + 61);
        }
    }
}
