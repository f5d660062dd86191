//! Segments that have come before their turn, kept until what is missing has come.
//!
//! Where a body goes on its bytes do not matter, and nothing is kept. In a head, or where frames begin, they do: the kernel
//! puts such a segment into the socket's queue and never shows it again. So it is copied, in pieces, and read when
//! its turn comes. A connection has room for [`PIECES`]; one that needs more becomes opaque.

use crate::{
    abi::Ends,
    window::{LOAD, forget},
};

/// Most bytes of a piece, a power of two.
pub const PIECE: usize = 2048;

/// Words of a piece: as many as can be read from its last byte on are there, too.
pub const PIECE_WORDS: usize = (PIECE + LOAD as usize) / 8 + 1;

/// Pieces that one connection can have, a power of two. A packet of 1448 bytes takes one, one of 64 KiB takes 32.
pub const PIECES: usize = 512;

/// Pieces that all connections of a node can have, some 32 MiB.
pub const MAX_PIECES: u32 = 8192;

/// Which piece it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceKey {
    /// The socket's cookie.
    pub socket: u64,
    /// Sequence number of its first byte; 64 bits, so that the key has no padding.
    pub first: u64,
}

/// Pieces of a packet that comes before its connection: those of 64 KiB.
pub const EARLY_PIECES: u32 = 32;

/// Such pieces of all connections of a node that are kept. Each lives for as long as its packet takes to make the
/// connection; one that is evicted makes that connection opaque.
pub const MAX_EARLY_PIECES: u32 = 512;

/// Which of such pieces it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyKey {
    /// The connection's ends.
    pub ends: Ends,
    /// Its index in the packet.
    pub index: u64,
}

/// A piece: as plain words.
pub type Piece = [u64; PIECE_WORDS];

/// Where a piece lies in its stream.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Sequence number of its first byte.
    pub first: u32,
    /// Its bytes; 0: none.
    pub length: u32,
}

/// What a connection has kept, in a storage of its socket that only such connections have.
#[repr(C)]
#[derive(Debug)]
pub struct Stash {
    /// The socket's cookie: the first part of each piece's key.
    pub socket: u64,
    /// Bytes of the packet at hand that have been kept.
    pub done: u32,
    /// The place that a search has found.
    pub found: u32,
    /// Where the pieces lie.
    pub places: [Place; PIECES],
}

impl Stash {
    /// Looks for a place for which `wanted` is 1 and not 0; its index is in `found` then.
    ///
    /// Without branches: each would be two ways for the verifier to follow, for each of the places.
    #[inline(always)]
    fn search(&mut self, wanted: impl Fn(Place) -> u32) -> bool {
        let mut found = u32::MAX;
        for (index, place) in self.places.iter().enumerate() {
            let this = 0u32.wrapping_sub(wanted(*place));
            found = (found & !this) | (index as u32 & this);
        }
        self.found = found;
        forget(&self.found) != u32::MAX
    }

    /// The place found last.
    #[inline(always)]
    pub fn found(&mut self) -> &mut Place {
        let found = forget(&self.found) as usize & (PIECES - 1);
        &mut self.places[found]
    }

    /// Looks for the piece that holds the byte with this sequence number.
    #[inline(always)]
    pub fn holds(&mut self, next: u32) -> bool {
        self.search(|place| below(next.wrapping_sub(place.first), place.length))
    }

    /// Looks for a piece that begins with this byte.
    #[inline(always)]
    pub fn starts_at(&mut self, first: u32) -> bool {
        self.search(|place| some(place.length) & (1 - some(place.first ^ first)))
    }

    /// Looks for room for one more.
    #[inline(always)]
    pub fn has_room(&mut self) -> bool {
        self.search(|place| 1 - some(place.length))
    }

    /// Looks for a piece of which all has been read.
    #[inline(always)]
    pub fn has_read(&mut self, next: u32) -> bool {
        self.search(|place| {
            let behind = next.wrapping_sub(place.first.wrapping_add(place.length));
            some(place.length) & (1 - (behind >> 31))
        })
    }

    /// Whether nothing is kept.
    #[inline(always)]
    pub fn is_empty(&mut self) -> bool {
        !self.search(|place| some(place.length))
    }
}

/// 1 if a number is not 0.
#[inline(always)]
fn some(number: u32) -> u32 {
    (number | number.wrapping_neg()) >> 31
}

/// 1 if the one number is below the other.
#[inline(always)]
fn below(one: u32, other: u32) -> u32 {
    (u64::from(one).wrapping_sub(u64::from(other)) >> 63) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_holds_a_byte_and_what_has_been_read() {
        let mut stash = Stash {
            socket: 1,
            done: 0,
            found: 0,
            places: [Place {
                first: 0,
                length: 0,
            }; PIECES],
        };
        assert!(stash.is_empty() && stash.has_room());
        let near_the_end = u32::MAX - 10;
        *stash.found() = Place {
            first: near_the_end,
            length: 20,
        };
        assert!(!stash.is_empty());
        for (next, holds, read) in [
            (near_the_end.wrapping_sub(1), false, false),
            (near_the_end, true, false),
            (8, true, false),
            (9, false, true),
            (1000, false, true),
        ] {
            assert_eq!(
                (stash.holds(next), stash.has_read(next)),
                (holds, read),
                "{next}"
            );
        }
        for place in &mut stash.places {
            *place = Place {
                first: 5,
                length: 1,
            };
        }
        assert!(!stash.has_room());
    }
}
