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

/// Bytes that are searched at once for the ends of lines.
const BLOCK: u32 = 32;

/// Words of a window, with some more, as a block can be read from each place.
pub const WORDS: usize = SIZE / 8 + BLOCK as usize / 8;

/// Most blocks without an end of a line, and ends of lines, that are looked at in one search: those of a full window
/// with eight lines.
const ROUNDS: usize = (CARRY + LOAD) as usize / BLOCK as usize + 9;

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
    /// Behind the block that is searched.
    searched: u32,
    /// Newlines of that block that have not been looked at: bit 0 is its first byte.
    newlines: u32,
    /// Where the next search begins if it can go on in that block. Never 0, where a search begins when bytes have been
    /// loaded or moved.
    resumed: u32,
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
        wanted: 0,
        searched: 0,
        newlines: 0,
        resumed: 0,
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

    /// Where there are newlines in the block from `at`: bit 0 is its first byte.
    #[inline(always)]
    fn newlines(&self, at: u32) -> u32 {
        let at = at as usize & (SIZE - 1);
        const { assert!(SIZE + BLOCK as usize <= WORDS * 8 && BLOCK == 32) };
        // SAFETY: within the array by the mask and the assertion.
        let words = unsafe {
            let block = self.words.as_ptr().cast::<u8>().add(at);
            [
                load::<0>(block),
                load::<8>(block),
                load::<16>(block),
                load::<24>(block),
            ]
        };
        let [first, second, third, fourth] = words.map(|word| bits(equal_bytes(word, b'\n')));
        first | second << 8 | third << 16 | fourth << 24
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
        if forget(&self.resumed) != self.start || self.start == 0 {
            self.searched = self.start;
            self.newlines = 0;
        }
        for _ in 0..ROUNDS {
            // Blocks follow one another wherever lines end: a processor is in the next one while it looks at a line.
            if forget(&self.newlines) == 0 {
                let at = forget(&self.searched);
                if at >= self.end {
                    self.line_end = NOT_THERE;
                    break;
                }
                self.newlines = self.newlines(at);
                self.searched = at + BLOCK;
                if forget(&self.newlines) == 0 {
                    continue;
                }
            }
            let newlines = forget(&self.newlines);
            self.newlines = newlines & newlines.wrapping_sub(1);
            let newline = forget(&self.searched).wrapping_sub(BLOCK) + lowest_bit(newlines);
            if newline >= self.end {
                self.line_end = NOT_THERE;
                break;
            }
            if of_interest(self, forget(&self.line_start)) {
                self.line_end = newline;
                self.start = newline + 1;
                self.resumed = newline + 1;
                break;
            }
            self.line_start = newline + 1;
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

/// The high bit of each byte that is equal to `byte`, exactly (no borrow from one byte to the next).
#[inline(always)]
pub(crate) fn equal_bytes(word: u64, byte: u8) -> u64 {
    let word = word ^ (ONES * byte as u64);
    !(((word & LOW) + LOW) | word | LOW)
}

/// The high bits of eight bytes, the first byte's in bit 0.
#[inline(always)]
fn bits(high_bits: u64) -> u32 {
    // Each bit comes to its place in the highest byte by one of the eight shifts that the product sums up; no two of
    // its terms meet (Hacker's Delight, section 7-3).
    ((high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// Index of the lowest bit that is set; `bits` is not 0.
#[inline(always)]
fn lowest_bit(bits: u32) -> u32 {
    let mut ones = opaque(bits.wrapping_sub(1) & !bits);
    ones -= (ones >> 1) & 0x5555_5555;
    ones = (ones & 0x3333_3333) + ((ones >> 2) & 0x3333_3333);
    ones = (ones + (ones >> 4)) & 0x0f0f_0f0f;
    ones.wrapping_mul(0x0101_0101) >> 24
}

/// A number of which the compiler does not know where it comes from.
#[inline(always)]
fn opaque(number: u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    let number = {
        let mut number = number;
        // SAFETY: one register, and nothing else.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
        number
    };
    number
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
            let found = (window.read_line(|_, _| true) == Search::Found).then(|| window.line());
            assert_eq!(found, expected.map(|end| (start, end)), "from {start}");
        }
    }

    #[test]
    fn stale_bytes_behind_the_end_are_not_seen() {
        let mut window = window(0, b"abc\ndef");
        window.end = 3;
        assert_eq!(window.read_line(|_, _| true), Search::Nothing);
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
