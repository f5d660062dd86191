//! The words that matter in header blocks, as they are sent: in plain text, or in the Huffman code (RFC 7541, appendix
//! B).
//!
//! Words are compared as 64-bit numbers together with their lengths: no text is decoded. The Huffman code of a word is
//! always the same, so the comparison is exact.

/// This bit is set in a length if the string is in the Huffman code.
pub(super) const CODED: u64 = 1 << 32;

/// A word of at most 15 bytes, in the form in which it is sent: in plain text or in the Huffman code.
pub(super) struct Word {
    bytes: [u64; 2],
    mask: [u64; 2],
    /// Length in bytes, plus [`CODED`] if the word is in the Huffman code.
    length: u64,
}

/// The first 16 bytes of a string, and its length in bytes, plus [`CODED`] if the string is in the Huffman code.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub(super) bytes: [u64; 2],
    pub(super) length: u64,
}

impl Word {
    /// Returns a word in plain text.
    pub(super) const fn plain(text: &[u8]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < text.len() {
            bits |= (text[at] as u128) << (at * 8);
            at += 1;
        }
        Self::new(bits, text.len(), 0)
    }

    /// Returns a word in the Huffman code, padded with ones to whole bytes (RFC 7541, 5.2).
    pub(super) const fn coded(text: &[u8]) -> Self {
        let mut bits = 0;
        let mut length = 0;
        let mut at = 0;
        while at < text.len() {
            let (code, more) = letter(text[at]);
            assert!(more > 0, "`letter` has no code for this byte");
            bits = bits << more | code as u128;
            length += more;
            at += 1;
        }
        let bytes = length.div_ceil(8);
        let fill = bytes * 8 - length;
        bits = bits << fill | ((1 << fill) - 1);
        Self::new(
            (bits << (128 - bytes * 8)).swap_bytes(),
            bytes as usize,
            CODED,
        )
    }

    const fn new(bits: u128, length: usize, coded: u64) -> Self {
        assert!(length > 0 && length < 16);
        let mask = (1u128 << (length * 8)) - 1;
        Self {
            bytes: [bits as u64, (bits >> 64) as u64],
            mask: [mask as u64, (mask >> 64) as u64],
            length: length as u64 | coded,
        }
    }

    #[inline(always)]
    fn differs(&self, sent: Sent) -> u64 {
        ((sent.bytes[0] ^ self.bytes[0]) & self.mask[0])
            | ((sent.bytes[1] ^ self.bytes[1]) & self.mask[1])
    }

    /// Returns whether a string is this word.
    #[inline(always)]
    pub(super) fn is(&self, sent: Sent) -> bool {
        self.differs(sent) | (sent.length ^ self.length) == 0
    }

    /// Returns whether a string begins with this word. In the Huffman code, the result is exact only for a word that
    /// fills its last byte.
    #[inline(always)]
    pub(super) fn begins(&self, sent: Sent) -> bool {
        let shorter = sent.length.wrapping_sub(self.length) >> 63;
        let other_code = (sent.length ^ self.length) & CODED;
        self.differs(sent) | other_code | shorter == 0
    }
}

/// Returns the Huffman code of a letter, and the length of the code in bits. The length is 0 for a letter that is in
/// none of the words that Ebb looks for.
const fn letter(byte: u8) -> (u32, u32) {
    match byte {
        b'-' => (0x16, 6),
        b'/' => (0x18, 6),
        b':' => (0x5c, 7),
        b'a' => (0x3, 5),
        b'b' => (0x23, 6),
        b'e' => (0x5, 5),
        b'g' => (0x26, 6),
        b'h' => (0x27, 6),
        b'k' => (0x75, 7),
        b'l' => (0x28, 6),
        b'n' => (0x2a, 6),
        b'o' => (0x7, 5),
        b'p' => (0x2b, 6),
        b'r' => (0x2c, 6),
        b's' => (0x8, 5),
        b't' => (0x9, 5),
        b'u' => (0x2d, 6),
        b'w' => (0x78, 7),
        _ => (0, 0),
    }
}
