//! The few bytes of a stream that a parser looks at, as 64-bit words.
//!
//! A window is in the connection's socket storage, and not on the stack or in per-CPU memory: before Linux 5.12 the stack cannot
//! be read at a variable offset, and another program on the same CPU can interrupt an egress program.

/// Most bytes of an unfinished line that are kept for the next packet. A longer line is handled by these bytes.
pub const CARRY: u32 = 56;

/// Most bytes loaded at once: a typical response head. Two loads cost more than one load of twice the length.
pub const LOAD: u32 = 256;

/// Bytes of a window. A power of two, so that a mask bounds an index: a mask gives the verifier no second path.
pub const SIZE: usize = 512;
const _: () = assert!((CARRY + LOAD) as usize <= SIZE);

/// Bytes that are searched for the end of a line in one iteration.
const BLOCK: u32 = 32;

/// Words of a window, and some more, so that a block can be read from every position.
pub const WORDS: usize = SIZE / 8 + BLOCK as usize / 8;

/// Most iterations of one search. Each one skips a block or reaches the end of a line. A full window with lines of typical length
/// takes fewer; otherwise the next step searches the rest.
const LOOKS: usize = 15;

/// Instead of a line's end: the search has not reached it.
const NOT_SEEN: u32 = u32::MAX;

/// Instead of a line's end: the end is not in the window.
const NOT_THERE: u32 = u32::MAX - 1;

/// Result of the search for a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// A line was found.
    Found,
    /// No line ends in the unread bytes.
    Nothing,
    /// There are many lines: the next call continues the search.
    Unfinished,
}

/// Bytes that are being parsed: those at `start .. end` are unread.
///
/// The line that was found last is stored here, too, and read back from here. To the verifier, a number that has been in memory
/// is just a number: all the paths by which it was computed become one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// First unread byte.
    pub start: u32,
    /// After the last byte.
    pub end: u32,
    /// The current line: its first byte.
    line_start: u32,
    /// The current line: after its last byte.
    line_end: u32,
    /// The lines that the caller wants.
    pub(crate) wanted: u32,
    /// After the words that have been searched.
    searched: u32,
    /// The bytes. Public only for the load in the kernel; other code uses the methods.
    pub words: [u64; WORDS],
}

/// One in each byte.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte.
pub(crate) const HIGH: u64 = ONES << 7;

/// The other bits of each byte.
pub(crate) const LOW: u64 = !HIGH;

/// The character code after the newline, in each byte.
const BEHIND_NEWLINE: u64 = ONES * (b'\n' as u64 + 1);

impl Window {
    /// A window without bytes.
    pub const EMPTY: Self = Self {
        start: 0,
        end: 0,
        line_start: 0,
        line_end: 0,
        wanted: 0,
        searched: 0,
        words: [0; WORDS],
    };

    /// Number of unread bytes.
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

    /// The eight bytes from `at` on, the first one in the lowest bits.
    #[inline(always)]
    pub fn eight(&self, at: u32) -> u64 {
        let at = at as usize & (SIZE - 1);
        const { assert!(SIZE.is_power_of_two() && SIZE + 8 <= WORDS * 8) };
        // SAFETY: within the array by the mask and the assertion.
        unsafe { load::<0>(self.words.as_ptr().cast::<u8>().add(at)) }
    }

    /// Searches for newlines from `at` on, up to the first word that has one, or to the end of a block. Returns the newlines of
    /// that word as the high bits of their bytes. Then `searched` is after that word.
    #[inline(always)]
    fn newlines(&mut self, at: u32) -> u64 {
        const { assert!(SIZE + BLOCK as usize <= WORDS * 8 && BLOCK == 32) };
        // SAFETY: within the array by the mask and the assertion.
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
            // For most words this test alone shows that there is no newline: words of ASCII characters that are not control
            // characters.
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

    /// The byte at `at`.
    #[inline(always)]
    pub fn byte(&self, at: u32) -> u8 {
        let at = at as usize & (SIZE - 1);
        // SAFETY: within the array by the mask.
        unsafe { *self.words.as_ptr().cast::<u8>().add(at) }
    }

    /// Reads the next line whose beginning is of interest; [`Self::line`] returns its position. Lines before it are skipped.
    ///
    /// Most lines of a head are of no interest: here it costs least to check them. `of_interest` gets the window and the position
    /// at which a line begins.
    #[inline(always)]
    pub fn read_line(&mut self, of_interest: impl Fn(&Self, u32) -> bool) -> Search {
        self.line_start = self.start;
        self.line_end = NOT_SEEN;
        self.searched = self.start;
        for _ in 0..LOOKS {
            let at = forget(&self.searched);
            if at >= self.end {
                self.line_end = NOT_THERE;
                break;
            }
            // Words are read one after the other, wherever lines end in them: a processor works on the next word while it checks
            // a line.
            let newlines = self.newlines(at);
            if newlines == 0 {
                continue;
            }
            let newline = forget(&self.searched).wrapping_sub(8) + lowest_byte(newlines);
            if newline >= self.end {
                self.line_end = NOT_THERE;
                break;
            }
            if of_interest(self, forget(&self.line_start)) {
                self.line_end = newline;
                self.start = newline + 1;
                break;
            }
            self.line_start = newline + 1;
            if newlines & newlines.wrapping_sub(1) != 0 {
                // There is another newline in this word.
                self.searched = newline + 1;
            }
        }
        match forget(&self.line_end) {
            // If the end of a line has not been found, nothing of the line has been read.
            NOT_SEEN => {
                self.start = forget(&self.line_start);
                Search::Unfinished
            }
            NOT_THERE => {
                self.start = forget(&self.line_start);
                Search::Nothing
            }
            _ => Search::Found,
        }
    }

    /// Reads all unread bytes as the beginning of a line that ends later.
    #[inline(always)]
    pub fn read_beginning(&mut self) {
        self.line_start = self.start;
        self.line_end = self.end;
        self.clear();
    }

    /// Start and end of the current line, without its newline.
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

/// Loads eight bytes from any address, in one instruction. The kernel allows programs to do so on machines that support it, as
/// all current ones do. Plain Rust would compile to code that reads byte by byte.
///
/// # Safety
/// The bytes must be readable.
#[inline(always)]
unsafe fn load<const OFFSET: usize>(from: *const u8) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let word;
        // SAFETY: one load.
        unsafe {
            core::arch::asm!("{0} = *(u64 *)({1} + {offset})", out(reg) word, in(reg) from, offset = const OFFSET, options(readonly, nostack, preserves_flags))
        };
        word
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: the caller's promise.
    unsafe {
        from.add(OFFSET).cast::<u64>().read_unaligned()
    }
}

/// Reads a number from memory: widens it, so that neither the compiler nor the verifier knows how it was computed.
#[inline(always)]
pub fn forget(number: &u32) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}

/// Writes a number that other CPUs read.
#[inline(always)]
pub(crate) fn set(cell: &mut u32, value: u32) {
    // SAFETY: a reference is valid for writes.
    unsafe { core::ptr::from_mut(cell).write_volatile(value) };
}

/// Orders writes: what is written before this call is in memory before what is written after it.
#[inline(always)]
pub(crate) fn in_order() {
    // On x86 it is enough that the compiler keeps the order.
    #[cfg(target_arch = "bpf")]
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
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

/// Sets the bit that makes ASCII letters lower case. `-`, `:`, space and digits have it already.
pub const LOWER: u64 = 0x2020_2020_2020_2020;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    impl Window {
        /// A window with these bytes; those from `start` on are unread.
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
        // 0x0b after 0x0a is where the usual trick with a borrow goes wrong. Bytes outside ASCII, and control characters, are
        // where a word without a newline needs a second look.
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
