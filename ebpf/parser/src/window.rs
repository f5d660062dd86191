//! The few bytes of a stream that a parser reads at a time, as 64-bit words.
//!
//! A window is in the connection's socket storage. It cannot be on the stack: before Linux 5.12 the stack cannot be
//! read at a variable offset. It cannot be in per-CPU memory: another program on the same CPU can interrupt an egress
//! program.

/// Maximum number of bytes of an unfinished line that are kept for the next packet. If a line is longer, the parser
/// examines only these bytes of it.
pub const CARRY: u32 = 56;

/// Maximum number of bytes that are loaded at once: a typical response head. Two loads cost more than one load of twice
/// the length.
pub const LOAD: u32 = 256;

/// Number of bytes of a window. It is a power of two, so that a mask can bound an index. With a comparison, the
/// verifier would follow two paths.
pub const SIZE: usize = 512;
const _: () = assert!((CARRY + LOAD) as usize <= SIZE);

/// Number of bytes that are searched for the end of a line in one iteration.
const BLOCK: u32 = 32;

/// Number of words of a window. One more block follows the [`SIZE`] bytes, so that a whole block can be read from every
/// position.
pub const WORDS: usize = SIZE / 8 + BLOCK as usize / 8;

/// Maximum number of iterations of one search. Each iteration skips a block or reaches the end of a line. A full window
/// with lines of typical length takes fewer iterations; otherwise the next step searches the rest.
const LOOKS: usize = 15;

/// Value of `line_end` if the search has not reached the end of the line.
const NOT_SEEN: u32 = u32::MAX;

/// Value of `line_end` if the end of the line is not in the window.
const NOT_THERE: u32 = u32::MAX - 1;

/// Result of the search for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// A line was found.
    Found,
    /// No line ends in the unread bytes.
    Nothing,
    /// The search has taken its maximum number of iterations: the next call continues the search.
    Unfinished,
}

/// Bytes that are being parsed. The bytes at `start .. end` are unread.
///
/// The position of the line that was found last is stored here, too, and read back from here. So the verifier no longer
/// knows how the position was computed, and follows one path for all ways to compute it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Index of the first unread byte.
    pub start: u32,
    /// Index after the last byte.
    pub end: u32,
    /// Index of the first byte of the current line.
    line_start: u32,
    /// Index after the last byte of the current line.
    line_end: u32,
    /// Set of the first bytes of the lines that the caller wants to read; all other lines are skipped (see
    /// `http1::fields`).
    pub(crate) line_filter: u32,
    /// Index after the words of `words` that have been searched for the end of a line.
    searched: u32,
    /// The bytes. The field is public only so that the kernel program can load bytes into it; other code uses the
    /// methods.
    pub words: [u64; WORDS],
}

/// The value 1 in each byte.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte.
pub(crate) const HIGH: u64 = ONES << 7;

/// All bits of each byte except its high bit.
pub(crate) const LOW: u64 = !HIGH;

/// The character code 0x0b, which follows that of the newline, in each byte.
const BEHIND_NEWLINE: u64 = ONES * (b'\n' as u64 + 1);

impl Window {
    /// A window without bytes.
    pub const EMPTY: Self = Self {
        start: 0,
        end: 0,
        line_start: 0,
        line_end: 0,
        line_filter: 0,
        searched: 0,
        words: [0; WORDS],
    };

    /// Returns the number of unread bytes.
    #[inline(always)]
    pub fn unread(&self) -> u32 {
        self.end.wrapping_sub(self.start)
    }

    /// Drops all bytes.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Returns the eight bytes from `at` on, the first one in the lowest bits.
    #[inline(always)]
    pub fn eight(&self, at: u32) -> u64 {
        let at = at as usize & (SIZE - 1);
        const { assert!(SIZE.is_power_of_two() && SIZE + 8 <= WORDS * 8) };
        // SAFETY: the mask and the assertion keep the read within the array.
        unsafe { load::<0>(self.words.as_ptr().cast::<u8>().add(at)) }
    }

    /// Searches for newlines in the words from `at` on. Stops after the first word that has a newline, or at the end of
    /// a block of [`BLOCK`] bytes. Returns the newlines of the last searched word as the high bits of their bytes. Sets
    /// `searched` to the index after that word.
    #[inline(always)]
    fn newlines(&mut self, at: u32) -> u64 {
        const { assert!(SIZE + BLOCK as usize <= WORDS * 8 && BLOCK == 32) };
        // SAFETY: the mask and the assertion keep the reads within the array.
        let words = unsafe {
            let block = self.words.as_ptr().cast::<u8>();
            let block = block.add(at as usize & (SIZE - 1));
            [
                load::<0>(block),
                load::<8>(block),
                load::<16>(block),
                load::<24>(block),
            ]
        };
        let mut newlines = 0;
        let mut searched = at;
        for word in words {
            searched += 8;
            // Most words have only printable ASCII characters. For these words, this first test is enough to show that
            // they have no newline.
            if word.wrapping_sub(BEHIND_NEWLINE) & HIGH != 0 {
                newlines = equal_bytes(word, b'\n');
                if newlines != 0 {
                    break;
                }
            }
        }
        self.searched = searched;
        newlines
    }

    /// Returns the byte at `at`.
    #[inline(always)]
    pub fn byte(&self, at: u32) -> u8 {
        let at = at as usize & (SIZE - 1);
        // SAFETY: the mask keeps the read within the array.
        unsafe { *self.words.as_ptr().cast::<u8>().add(at) }
    }

    /// Finds the next line for whose beginning `of_interest` returns `true`, and skips the lines before it.
    /// [`Self::line`] returns the position of the found line. `of_interest` gets the window and the position at which a
    /// line begins.
    ///
    /// The caller needs only few lines of a head. It costs least to skip the other lines in this loop.
    #[inline(always)]
    pub fn read_line(&mut self, of_interest: impl Fn(&Self, u32) -> bool) -> Search {
        self.line_start = self.start;
        self.line_end = NOT_SEEN;
        self.searched = self.start;
        for _ in 0..LOOKS {
            let at = widen(&self.searched);
            if at >= self.end {
                self.line_end = NOT_THERE;
                break;
            }
            // The search goes from one word to the next, even if a line ends in the middle of a word. So the processor
            // can work on the next word while it checks a line.
            let newlines = self.newlines(at);
            if newlines == 0 {
                continue;
            }
            let newline = widen(&self.searched).wrapping_sub(8) + lowest_byte(newlines);
            if newline >= self.end {
                self.line_end = NOT_THERE;
                break;
            }
            if of_interest(self, widen(&self.line_start)) {
                self.line_end = newline;
                self.start = newline + 1;
                break;
            }
            self.line_start = newline + 1;
            if newlines & newlines.wrapping_sub(1) != 0 {
                // There is another newline in this word: the search continues within the word.
                self.searched = newline + 1;
            }
        }
        match widen(&self.line_end) {
            // If the end of a line has not been found, the whole line remains unread.
            NOT_SEEN => {
                self.start = widen(&self.line_start);
                Search::Unfinished
            }
            NOT_THERE => {
                self.start = widen(&self.line_start);
                Search::Nothing
            }
            _ => Search::Found,
        }
    }

    /// Makes all unread bytes the current line. They are the beginning of a line whose end has not arrived yet.
    #[inline(always)]
    pub fn read_beginning(&mut self) {
        self.line_start = self.start;
        self.line_end = self.end;
        self.clear();
    }

    /// Returns the start and the end of the current line, without its newline.
    #[inline(always)]
    pub fn line(&self) -> (u32, u32) {
        (widen(&self.line_start), widen(&self.line_end))
    }

    /// Moves the unread bytes, at most [`CARRY`] of them, to the front of the window.
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

/// Loads eight bytes from any address, in one instruction. The kernel allows unaligned loads on machines that support
/// them, as all current machines do. Plain Rust would compile to code that reads byte by byte.
///
/// # Safety
/// The eight bytes must be readable.
#[inline(always)]
unsafe fn load<const OFFSET: usize>(from: *const u8) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let word;
        // SAFETY: the instruction is one load, and the caller guarantees that the bytes are readable.
        unsafe {
            core::arch::asm!("{0} = *(u64 *)({1} + {offset})", out(reg) word, in(reg) from, offset = const OFFSET, options(readonly, nostack, preserves_flags))
        };
        word
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller guarantees that the bytes are readable.
    unsafe {
        from.add(OFFSET).cast::<u64>().read_unaligned()
    }
}

/// Reads a number from memory, and so widens its range: neither the compiler nor the verifier knows how the number was
/// computed, or its bounds.
#[inline(always)]
pub fn widen(number: &u32) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}

/// Writes a number that other CPUs read.
#[inline(always)]
pub(crate) fn set(field: &mut u32, value: u32) {
    // SAFETY: a reference is valid for writes.
    unsafe { core::ptr::from_mut(field).write_volatile(value) };
}

/// Orders writes: everything written before this call is in memory before anything written after it.
#[inline(always)]
pub(crate) fn in_order() {
    // On x86, the processor does not reorder writes, so it is enough that the compiler does not reorder them.
    #[cfg(target_arch = "bpf")]
    // SAFETY: the assembly has no instruction.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
}

/// Returns the high bit of each byte that is equal to `byte`. The result is exact: no byte borrows from the next one.
#[inline(always)]
pub(crate) fn equal_bytes(word: u64, byte: u8) -> u64 {
    let word = word ^ (ONES * byte as u64);
    !(((word & LOW) + LOW) | word | LOW)
}

/// Returns the index of the lowest byte whose high bit is set. `high_bits` must not be 0.
#[inline(always)]
pub(crate) fn lowest_byte(high_bits: u64) -> u32 {
    // The lowest set bit is bit 8k+7. In `below`, all bits under it are 1, so bit 0 is set in k+1 bytes. The
    // multiplication adds these bits up.
    let below = high_bits.wrapping_sub(1) & !high_bits;
    (((below & ONES).wrapping_mul(ONES) >> 56) as u32).wrapping_sub(1)
}

/// Returns eight bytes of text as one 64-bit word.
#[inline(always)]
pub const fn text(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// Sets the bit that makes ASCII letters lower case. In `-`, `:`, space and digits, this bit is set already.
pub const LOWER: u64 = 0x2020_2020_2020_2020;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    impl Window {
        /// Returns a window that holds `bytes`. The bytes from `start` on are unread.
        pub(crate) fn holding(start: u32, bytes: &[u8]) -> Self {
            let mut window = Self {
                start,
                end: bytes.len() as u32,
                ..Self::EMPTY
            };
            for (word, chunk) in window.words.iter_mut().zip(bytes.chunks(8)) {
                let mut padded = [0; 8];
                padded[..chunk.len()].copy_from_slice(chunk);
                *word = u64::from_le_bytes(padded);
            }
            window
        }
    }

    #[test]
    fn newline_agrees_with_a_byte_search() {
        // The text has the difficult cases. One is 0x0b after 0x0a: the usual search, which subtracts with a borrow,
        // takes 0x0b for another newline. Others are words with control characters, or with bytes outside ASCII: the
        // first test of `newlines` alone does not show that they have no newline.
        let text: Vec<u8> =
            b"ab\n\x0b\x8a\n0123456789\n\n\x0b\xff\x0a\x00\x09caf\xc3\xa9 without one\x8a\x0b\r\n"
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
            let mut window = Window::holding(start, &text);
            let found = (window.read_line(|_, _| true) == Search::Found).then(|| window.line());
            assert_eq!(found, expected.map(|end| (start, end)), "from {start}");
        }
    }

    #[test]
    fn stale_bytes_behind_the_end_are_not_seen() {
        let mut window = Window::holding(0, b"abc\ndef");
        window.end = 3;
        assert_eq!(window.read_line(|_, _| true), Search::Nothing);
    }

    #[test]
    fn eight_reads_at_any_alignment() {
        let bytes: Vec<u8> = (0..64).collect();
        for at in 0..56u32 {
            let expected =
                u64::from_le_bytes(bytes[at as usize..at as usize + 8].try_into().unwrap());
            assert_eq!(Window::holding(0, &bytes).eight(at), expected);
        }
    }

    #[test]
    fn keep_moves_the_rest_to_the_front() {
        let bytes: Vec<u8> = (0..100).collect();
        let mut window = Window::holding(61, &bytes);
        window.keep();
        assert_eq!((window.start, window.end), (0, 39));
        for at in 0..39 {
            assert_eq!(window.byte(at), at as u8 + 61);
        }
    }
}
