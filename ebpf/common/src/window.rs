//! The few bytes of a stream that a parser looks at, as 64-bit words.
//!
//! A window lives in the connection's socket storage, not on the stack or in per-CPU memory: the
//! stack cannot be read at a variable offset before 5.12, and a program on the way out can be
//! interrupted by another one on the same CPU.

/// Bytes of an unfinished line that are kept for the next packet. A longer line is judged by these.
pub const CARRY: u32 = 56;

/// Most bytes loaded at once: the head of a usual response. Two loads cost more than one of twice the length.
pub const LOAD: u32 = 256;

/// Bytes of a window, a power of two, so that an index is bounded by a mask, which costs the verifier no second path.
pub const SIZE: usize = 512;
const _: () = assert!((CARRY + LOAD) as usize <= SIZE);

/// Most bytes that are searched for the end of a line in one look.
const BLOCK: u32 = 32;

/// Words of a window, with some more, as a block can be read from each place.
pub const WORDS: usize = SIZE / 8 + BLOCK as usize / 8;

/// Most looks of one search. Each passes over a block or comes to the end of a line. A full window whose lines are of usual
/// length takes fewer; of others the rest is searched in the next step.
const LOOKS: usize = 15;

/// In place of a line's end: the search has not come that far.
const NOT_SEEN: u32 = u32::MAX;

/// In place of a line's end: it is not in the window.
const NOT_THERE: u32 = u32::MAX - 1;

/// How the search for a line has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// With a line.
    Found,
    /// There is none among the unread bytes.
    Nothing,
    /// There are many lines: it goes on with the next call.
    Unfinished,
}

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
    /// Which lines are wanted, for whoever looks for one.
    pub(crate) wanted: u32,
    /// Behind the words that have been searched.
    searched: u32,
    /// The bytes. Public only for the kernel's load; others use the methods.
    pub words: [u64; WORDS],
}

/// One in each byte.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;

/// The high bit of each byte.
pub(crate) const HIGH: u64 = ONES << 7;

/// The others.
pub(crate) const LOW: u64 = !HIGH;

/// The character behind a newline, in each byte.
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

    /// The eight bytes from `at`, the first in the lowest bits.
    #[inline(always)]
    pub fn eight(&self, at: u32) -> u64 {
        let at = at as usize & (SIZE - 1);
        const { assert!(SIZE.is_power_of_two() && SIZE + 8 <= WORDS * 8) };
        // SAFETY: within the array by the mask and the assertion.
        unsafe { load::<0>(self.words.as_ptr().cast::<u8>().add(at)) }
    }

    /// Looks for newlines from `at` on, up to the first word that has some, or to the end of a block. Those of that word are
    /// told by the high bits of their bytes; the search has come to behind it.
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
            // Of most words this says at once that there is none: those of ASCII characters that are not control ones.
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

    /// Reads the next line that is of interest by what it begins with; [`Self::line`] tells where it is. Lines
    /// before it are passed over.
    ///
    /// Most lines of a head are of none: to look at them here costs least. `of_interest` gets the window and
    /// where a line begins.
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
            // Words follow one another wherever lines end in them: a processor is in the next one while it looks at a line.
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
                // There is another one in this word.
                self.searched = newline + 1;
            }
        }
        match forget(&self.line_end) {
            // Of a line of which no end has been seen nothing has been read.
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

/// Eight bytes from anywhere, in one instruction: kernels of machines that can, which all of today's are, let
/// programs do so. From plain Rust comes code that reads byte by byte.
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

/// A number as it is in memory, whatever the compiler or the verifier know of how it got there.
#[inline(always)]
pub fn forget(number: &u32) -> u32 {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}

/// Writes a number that others read.
#[inline(always)]
pub(crate) fn set(cell: &mut u32, value: u32) {
    // SAFETY: a reference is valid for writes.
    unsafe { core::ptr::from_mut(cell).write_volatile(value) };
}

/// What is written before this is in memory before what is written after it.
#[inline(always)]
pub(crate) fn in_order() {
    // On x86 it is enough that the compiler keeps the order.
    #[cfg(target_arch = "bpf")]
    // SAFETY: nothing.
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

/// Sets the bit that makes ASCII letters lower case. `-`, `:`, space and digits keep theirs.
pub const LOWER: u64 = 0x2020_2020_2020_2020;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    impl Window {
        /// One with these bytes in it, of which those from `start` on are unread.
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
        // 0x0b after 0x0a is where the usual trick with a borrow goes wrong, and bytes that are no ASCII, or control
        // characters, are where a word without a newline needs a second look.
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
