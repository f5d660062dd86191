//! The out-of-order buffer: segments that cannot be read yet are stored until the missing bytes have arrived.
//!
//! In the middle of a body, the bytes do not matter, and no segment is stored. In a head, or where frames begin, the
//! bytes matter. If bytes are missing before a segment, the kernel puts the segment into the socket's queue, and never
//! passes it to the programs again. So the programs copy the segment in pieces, and read the pieces when all bytes
//! before them have been read. A segment that arrives while another CPU is reading the connection is stored, too (see
//! [`crate::serialisation`]). A connection has room for [`PIECES`] pieces, and a pod has a share of all pieces of the
//! node ([`share_has_room`]). A connection that needs more pieces becomes opaque.
//!
//! Several CPUs may store pieces at once: each CPU claims a place under the lock, copies its piece, and publishes the
//! place. Only one CPU at a time reads pieces, and frees them.

use crate::{
    conn::Lock,
    ends::Ends,
    window::{LOAD, forget, set},
};

/// Maximum number of bytes of a piece, a power of two.
pub const PIECE: usize = 2048;

/// Number of words of a piece. A load of [`LOAD`] bytes from the last byte of the piece stays within these words.
pub const PIECE_WORDS: usize = (PIECE + LOAD as usize) / 8 + 1;

/// Maximum number of pieces of one connection, a power of two. A packet of 1448 bytes takes one piece; a packet of 64
/// KiB takes 32.
pub const PIECES: usize = 512;

/// Maximum number of pieces of all connections of a node, 9 MiB in all: the limit for the node's data that is out of
/// order at one time.
pub const MAX_PIECES: u32 = 4096;

/// Returns whether a pod with `own` pieces may have one more, if all pods of the node together have `all`.
///
/// A pod may have as many pieces as are free. So one pod alone gets half of the buffer. If n pods want the whole
/// buffer, each pod gets the fraction 1/(n + 1), and the same fraction stays free. So whatever other pods do, there is
/// room for a pod that begins to need pieces. (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory
/// packet switches", 1998.)
#[inline(always)]
pub fn share_has_room(own: u64, all: u64) -> bool {
    // Either counter may be below 0 for a moment, while several CPUs change it.
    (own as i64) < i64::from(MAX_PIECES) - all as i64
}

/// Key of a piece.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceKey {
    /// The socket's cookie.
    pub socket: u64,
    /// Sequence number of the piece's first byte. It has 64 bits, so that the key has no padding.
    pub first: u64,
}

/// Maximum number of pieces of a packet that arrives before its connection is established: a packet of 64 KiB in pieces
/// of 2 KiB.
pub const EARLY_PIECES: u32 = 32;

/// Maximum number of pieces that arrived before their connection was established, and are moved to its out-of-order
/// buffer: the pieces of the packet that establishes the connection, and the pieces that arrived on other CPUs at the
/// same time.
pub const ADOPTED_PIECES: u32 = 48;

/// Maximum number of pieces, over all connections of a node, that arrived before their connections were established. A
/// piece is needed until the connection is established. If a piece is evicted earlier, its connection becomes opaque.
pub const MAX_EARLY_PIECES: u32 = 512;

/// Maximum distance of a piece ahead of the first byte of a new connection, in bytes: a client sends no more before the
/// server has answered. A piece farther ahead is left from an earlier connection with the same addresses and ports that
/// was never established.
pub const EARLY_REACH: u32 = 1 << 20;

/// Key of a piece that arrived before its connection was established.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyKey {
    /// The addresses and ports of the connection.
    pub ends: Ends,
    /// The CPU on which the packet arrived at the listening socket, or [`MEANWHILE`].
    pub from: u32,
    /// Index of the piece in its packet. With `MEANWHILE`: index among all pieces with `MEANWHILE` of the connection.
    pub index: u32,
}

/// Value of [`EarlyKey::from`] for a piece that arrived while a packet on another CPU was establishing the connection.
/// The pieces of that packet have keys with the number of their CPU.
pub const MEANWHILE: u32 = u32::MAX;

/// The data of a piece, as plain words.
pub type Piece = [u64; PIECE_WORDS];

/// Position of a piece in its stream.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number of the piece's first byte.
    pub first: u32,
    /// Length of the piece in bytes; 0: no piece. [`CLAIMED`] is set while the bytes are still being copied.
    pub length: u32,
}

/// This bit is set in [`Place::length`] while a CPU is copying the piece.
const CLAIMED: u32 = 1 << 31;

impl Place {
    /// A place without a piece.
    pub const FREE: Self = Self {
        first: 0,
        length: 0,
    };
}

/// [`Stash::claim`] returns this value instead of an index if there is no room.
const FULL: u32 = u32::MAX;

/// This bit is set in a [`Claim`] if a piece with the same first byte is stored already. The other bits are the piece's
/// length.
const THERE: u32 = 1 << 30;

/// Result of claiming a place in the out-of-order buffer. The result is one word: for an enumeration, the verifier
/// would follow one path for each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(u32);

impl Claim {
    /// Returns whether the buffer has no free place.
    #[inline(always)]
    pub fn is_full(self) -> bool {
        self.0 == FULL
    }

    /// Returns the length of the piece that is stored already and has the same first byte; 0: there is no such piece.
    #[inline(always)]
    pub fn there(self) -> u32 {
        if self.0 & THERE == 0 {
            0
        } else {
            self.0 & !THERE
        }
    }

    /// Returns the index of the claimed place.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0
    }
}

/// The out-of-order buffer of a connection. It is in a separate socket storage that only connections with stored pieces
/// have.
#[repr(C)]
#[derive(Debug)]
pub struct Stash {
    /// Guards the claims of places.
    pub lock: Lock,
    /// Index of the place that the reader's last search has found.
    found: u32,
    /// Index of the free place that the last search under the lock has found.
    free: u32,
    /// Index of the place with the same first byte that the last search under the lock has found.
    same: u32,
    /// [`EarlyKey::from`] of the next piece to be moved here from the data that arrived before the connection was
    /// established.
    early_from: u32,
    early_index: u32,
    /// Sequence number up to which TCP had accepted the client's data when the number was last read.
    taken: u32,
    reserved: u32,
    /// The socket's cookie, which is the first part of the key of each piece.
    pub socket: u64,
    /// Positions of the pieces.
    pub places: [Place; PIECES],
}

impl Stash {
    /// A buffer without pieces: all zeros.
    pub const EMPTY: Self = Self {
        lock: Lock { val: 0 },
        found: 0,
        free: 0,
        same: 0,
        early_from: 0,
        early_index: 0,
        taken: 0,
        reserved: 0,
        socket: 0,
        places: [Place::FREE; PIECES],
    };

    /// Returns the index of the last place for which `wanted` returns 1 (not 0), or [`FULL`] if there is no such place.
    ///
    /// The code has no branches: the verifier would follow two paths for each place.
    #[inline(always)]
    fn search(places: &[Place; PIECES], wanted: impl Fn(Place) -> u64) -> u32 {
        let mut found = u64::from(FULL);
        for (index, place) in places.iter().enumerate() {
            let this = opaque(0u64.wrapping_sub(wanted(*place)));
            found = (found & !this) | (index as u64 & this);
        }
        found as u32
    }

    /// Searches for a place for which `wanted` returns 1 (not 0), and stores its index in `found`, for the reader.
    /// Returns whether there is such a place.
    #[inline(always)]
    fn find(&mut self, wanted: impl Fn(Place) -> u64) -> bool {
        self.found = Self::search(&self.places, wanted);
        forget(&self.found) != FULL
    }

    /// Claims a place for a piece that begins with the sequence number `first`. The caller holds the lock.
    #[inline(always)]
    pub fn claim(&mut self, first: u32, length: u32) -> Claim {
        self.same = Self::search(&self.places, |place| {
            some(place.length) & (1 - some(place.first ^ first))
        });
        let same = forget(&self.same);
        if same != FULL {
            // A retransmission may be longer than the stored piece: only the new part is stored.
            return Claim(THERE | (self.places[same as usize & (PIECES - 1)].length & !CLAIMED));
        }
        self.free = Self::search(&self.places, |place| 1 - some(place.length));
        let free = forget(&self.free);
        if free != FULL {
            self.places[free as usize & (PIECES - 1)] = Place {
                first,
                length: length | CLAIMED,
            };
        }
        Claim(free)
    }

    /// Claims the place `index`, for a piece that no other CPU stores. Returns `false` if the place is not free. The
    /// caller holds the lock.
    #[inline(always)]
    pub fn claim_at(&mut self, index: u32, first: u32, length: u32) -> bool {
        let place = &mut self.places[index as usize & (PIECES - 1)];
        let free = place.length == 0;
        if free {
            *place = Place {
                first,
                length: length | CLAIMED,
            };
        }
        free
    }

    /// Ends a claim. `place` is the position of the stored piece, or [`Place::FREE`] if the piece was not stored.
    #[inline(always)]
    pub fn settle(&mut self, index: u32, place: Place) {
        let at = &raw mut self.places[index as usize & (PIECES - 1)];
        // The place is written as one word, so that a reader sees all of the change or nothing.
        let word = u64::from(place.length) << 32 | u64::from(place.first);
        // SAFETY: a place has the size and the alignment of a word.
        unsafe { at.cast::<u64>().write_volatile(word) };
    }

    /// Begins to go through the pieces whose [`EarlyKey::from`] is `from`: the next index is 0.
    #[inline(always)]
    pub fn adopt_from(&mut self, from: u32) {
        set(&mut self.early_from, from);
        set(&mut self.early_index, 0);
    }

    /// Sets `key` to the key of the next piece that arrived before the connection was established (see [`EarlyKey`]).
    /// The values are read from memory, so that the verifier follows one path for all of them.
    #[inline(always)]
    pub fn next_early(&mut self, key: &mut EarlyKey) {
        key.from = forget(&self.early_from);
        key.index = forget(&self.early_index);
        set(&mut self.early_index, key.index.wrapping_add(1));
    }

    /// Returns the place that the reader's last search has found.
    #[inline(always)]
    pub fn found(&self) -> Place {
        self.places[forget(&self.found) as usize & (PIECES - 1)]
    }

    /// Frees the place that the reader's last search has found.
    #[inline(always)]
    pub fn free_found(&mut self) {
        self.settle(forget(&self.found), Place::FREE);
    }

    /// Searches for a piece that holds the byte with the sequence number `next`. Returns whether there is such a piece.
    #[inline(always)]
    pub fn holds(&mut self, next: u32) -> bool {
        self.find(|place| below(next.wrapping_sub(place.first), published(place)))
    }

    /// Searches for a piece that has been read completely: all its bytes come before the sequence number `next`.
    /// Returns whether there is such a piece.
    #[inline(always)]
    pub fn has_read(&mut self, next: u32) -> bool {
        self.find(|place| {
            let behind = next.wrapping_sub(place.first.wrapping_add(place.length));
            some(published(place)) & (1 - u64::from(behind >> 31))
        })
    }

    /// Records that TCP has accepted the client's data up to the sequence number `up_to`. Must be called before the
    /// pieces are read.
    #[inline(always)]
    pub fn tcp_has_taken(&mut self, up_to: u32) {
        set(&mut self.taken, up_to);
    }

    /// Returns true if bytes from `next` on are missing and will not arrive: TCP had accepted these bytes when its
    /// progress was read, and the kernel does not pass accepted bytes to the programs again. All other bytes that TCP
    /// had accepted have been read, are stored, or are just being copied by the CPU that received them first.
    #[inline(always)]
    pub fn misses(&mut self, next: u32) -> bool {
        // A FIN takes one sequence number, too, so a distance of 1 is no gap.
        forget(&self.taken).wrapping_sub(next) as i32 > 1
            && !self.find(|place| below(next.wrapping_sub(place.first), place.length & !CLAIMED))
    }

    /// Returns whether no piece is stored.
    #[inline(always)]
    pub fn is_empty(&mut self) -> bool {
        !self.find(|place| some(place.length))
    }
}

/// Returns a piece's length, or 0 while the piece is still being copied.
#[inline(always)]
fn published(place: Place) -> u32 {
    let claimed = opaque(u64::from(place.length >> 31));
    place.length & claimed.wrapping_sub(1) as u32
}

/// Returns 1 if a number is not 0, else 0.
#[inline(always)]
fn some(number: u32) -> u64 {
    opaque(0u64.wrapping_sub(u64::from(number))) >> 63
}

/// Returns 1 if `one` is below `other`, else 0.
#[inline(always)]
fn below(one: u32, other: u32) -> u64 {
    opaque(u64::from(one).wrapping_sub(u64::from(other))) >> 63
}

/// Hides the compiler's knowledge of a number. Otherwise the compiler would understand the arithmetic with the number,
/// and turn it into branches.
#[inline(always)]
fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: the instruction changes nothing.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack)) };
        number
    }
    #[cfg(not(target_arch = "bpf"))]
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(stash: &mut Stash, first: u32, length: u32) {
        let claim = stash.claim(first, length);
        assert!(!claim.is_full() && claim.there() == 0);
        stash.settle(claim.index(), Place { first, length });
    }

    #[test]
    fn finds_what_holds_a_byte_and_what_has_been_read() {
        let mut stash = Stash::EMPTY;
        assert!(stash.is_empty());
        let near_the_end = u32::MAX - 10;
        put(&mut stash, near_the_end, 20);
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
    }

    #[test]
    fn what_is_claimed_is_taken_but_not_there_to_read() {
        let mut stash = Stash::EMPTY;
        let claim = stash.claim(100, 50);
        assert!(!stash.holds(100) && !stash.has_read(1000) && !stash.is_empty());
        assert_eq!(stash.claim(100, 70).there(), 50);
        assert!(!stash.claim_at(claim.index(), 200, 50));
        stash.settle(claim.index(), Place::FREE);
        assert!(stash.is_empty());
        assert!(stash.claim_at(claim.index(), 200, 50));
        assert!(!stash.holds(200) && !stash.is_empty());
    }

    #[test]
    fn what_tcp_has_taken_and_nobody_has_is_missing() {
        let mut stash = Stash::EMPTY;
        let near_the_end = u32::MAX - 10;
        put(&mut stash, 500, 20);
        let copying = stash.claim(near_the_end, 20);
        for (next, taken, missing) in [
            (100, 100, false),
            // No byte is missing: the accepted sequence number is from before the last bytes were read (50), or
            // includes a FIN (101).
            (100, 50, false),
            (100, 101, false),
            (100, 102, true),
            (500, 520, false),
            (519, 600, false),
            (520, 600, true),
            (near_the_end, 9, false),
            (8, 20, false),
            (9, 20, true),
            (near_the_end.wrapping_sub(1), 20, true),
        ] {
            stash.tcp_has_taken(taken);
            assert_eq!(stash.misses(next), missing, "{next} {taken}");
        }
        stash.tcp_has_taken(9);
        stash.settle(copying.index(), Place::FREE);
        assert!(stash.misses(near_the_end));
    }

    #[test]
    fn t7_no_pod_can_take_all() {
        for hostile in [1, 2, 10, 100] {
            // Each pod takes as many pieces as it can get.
            let kept = &mut [0u64; 100][..hostile];
            loop {
                let before: u64 = kept.iter().sum();
                for pod in 0..hostile {
                    let all = kept.iter().sum();
                    if share_has_room(kept[pod], all) {
                        kept[pod] += 1;
                    }
                }
                if kept.iter().sum::<u64>() == before {
                    break;
                }
            }
            let all: u64 = kept.iter().sum();
            let free = u64::from(MAX_PIECES) - all;
            assert!(
                free >= u64::from(MAX_PIECES) / (hostile as u64 + 2),
                "{free} free"
            );
            assert!(share_has_room(0, all) && share_has_room(free / 2, all + free / 2 - 1));
        }
        assert!(share_has_room(1u64.wrapping_neg(), 0));
        assert!(!share_has_room(0, u64::from(MAX_PIECES)));
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut stash = Stash::EMPTY;
        for piece in 0..PIECES as u32 {
            put(&mut stash, piece * 10, 10);
        }
        assert!(stash.claim(u32::MAX, 1).is_full());
        assert_eq!(stash.claim(10, 30).there(), 10);
        assert!(stash.has_read(10));
        assert_eq!(
            stash.found(),
            Place {
                first: 0,
                length: 10
            }
        );
        stash.free_found();
        assert!(!stash.claim(u32::MAX, 1).is_full());
    }
}
