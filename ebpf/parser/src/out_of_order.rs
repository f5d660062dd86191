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
    branchless::{below, opaque, some},
    conn::Lock,
    ends::Ends,
    window::{LOAD, set, widen},
};

/// Maximum number of bytes of a piece, a power of two.
pub const PIECE: usize = 2048;

/// Number of words of a piece. Even a load of [`LOAD`] bytes that begins at the last byte of the piece stays within
/// these words.
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
    // While several CPUs change the counters, each of them may be below 0 for a moment.
    (own as i64) < i64::from(MAX_PIECES) - all as i64
}

/// Key of a piece in the map of pieces.
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
pub const HANDSHAKE_PACKET_PIECES: u32 = 32;

/// Maximum number of pieces that are moved to the out-of-order buffer of a connection when it is established. These are
/// the pieces of the packet that establishes the connection, and the pieces that arrived on other CPUs at the same
/// time.
pub const ADOPTED_PIECES: u32 = 48;

/// Maximum number of pieces, over all connections of a node, that arrived before their connections were established. A
/// piece is needed until the connection is established. If a piece is evicted earlier, its connection becomes opaque.
pub const MAX_HANDSHAKE_PIECES: u32 = 512;

/// Maximum distance, in bytes, of a piece from the first byte of a new connection: a client sends no more before the
/// server has answered. A piece farther ahead is left from an earlier connection with the same addresses and ports that
/// was never established.
pub const MAX_HANDSHAKE_DISTANCE: u32 = 1 << 20;

/// Key of a piece that arrived before its connection was established.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakePieceKey {
    /// The addresses and ports of the connection.
    pub ends: Ends,
    /// The CPU on which the packet arrived at the listening socket, or [`NEW_SOCKET`].
    pub from: u32,
    /// Index of the piece in its packet. With `NEW_SOCKET`: index among all pieces with `NEW_SOCKET` of the connection.
    pub index: u32,
}

/// Value of [`HandshakePieceKey::from`] for a piece that arrived at the new socket of the connection while a packet on
/// another CPU was establishing the connection. For the pieces of that packet, `from` is the number of their CPU.
pub const NEW_SOCKET: u32 = u32::MAX;

/// The data of a piece, as an array of 64-bit words.
pub type Piece = [u64; PIECE_WORDS];

/// Position of a piece in its stream.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PiecePlace {
    /// Sequence number of the piece's first byte.
    pub first: u32,
    /// Length of the piece in bytes; 0: no piece. [`CLAIMED`] is set while the bytes are still being copied.
    pub length: u32,
}

/// This bit is set in [`PiecePlace::length`] while a CPU is copying the piece.
const CLAIMED: u32 = 1 << 31;

impl PiecePlace {
    /// A place of the buffer that holds no piece.
    pub const FREE: Self = Self {
        first: 0,
        length: 0,
    };
}

/// [`OutOfOrderBuffer::claim`] returns this value instead of an index if there is no room.
const FULL: u32 = u32::MAX;

/// This bit is set in a [`Claim`] if a piece with the same first byte is stored already. The other bits are the piece's
/// length.
const STORED: u32 = 1 << 30;

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
    pub fn stored_length(self) -> u32 {
        if self.0 & STORED == 0 {
            0
        } else {
            self.0 & !STORED
        }
    }

    /// Returns the index of the claimed place in the buffer.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0
    }
}

/// The out-of-order buffer of a connection. It is in a separate socket storage that only connections with stored pieces
/// have.
#[repr(C)]
#[derive(Debug)]
pub struct OutOfOrderBuffer {
    /// Guards the claims of places in the buffer.
    pub lock: Lock,
    /// Result of the last search by the CPU that reads pieces: the index of a place.
    found: u32,
    /// Result of the last search under the lock: the index of a free place.
    free: u32,
    /// Result of the last search under the lock: the index of a place whose piece has the same first byte as the new
    /// piece.
    same: u32,
    /// The `from` in the key ([`HandshakePieceKey`]) of the next piece that is moved to this buffer. The piece arrived
    /// before the connection was established.
    handshake_from: u32,
    handshake_index: u32,
    /// Sequence number up to which TCP had accepted the client's data when the number was last read.
    tcp_accepted: u32,
    reserved: u32,
    /// The socket's cookie, which is the first part of the [`PieceKey`] of each piece.
    pub socket: u64,
    /// Positions of the pieces.
    pub places: [PiecePlace; PIECES],
}

impl OutOfOrderBuffer {
    /// A buffer without pieces: all zeros.
    pub const EMPTY: Self = Self {
        lock: Lock { val: 0 },
        found: 0,
        free: 0,
        same: 0,
        handshake_from: 0,
        handshake_index: 0,
        tcp_accepted: 0,
        reserved: 0,
        socket: 0,
        places: [PiecePlace::FREE; PIECES],
    };

    /// Returns the index of the last place for which `matches` returns 1 (not 0), or [`FULL`] if there is no such
    /// place.
    ///
    /// The code has no branches: the verifier would follow two paths for each place.
    #[inline(always)]
    fn search(places: &[PiecePlace; PIECES], matches: impl Fn(PiecePlace) -> u64) -> u32 {
        let mut found = u64::from(FULL);
        for (index, place) in places.iter().enumerate() {
            let this = opaque(0u64.wrapping_sub(matches(*place)));
            found = (found & !this) | (index as u64 & this);
        }
        found as u32
    }

    /// Searches for a place for which `matches` returns 1 (not 0), and stores its index in `found`, for the CPU that
    /// reads pieces. Returns whether there is such a place.
    #[inline(always)]
    fn find(&mut self, matches: impl Fn(PiecePlace) -> u64) -> bool {
        self.found = Self::search(&self.places, matches);
        widen(&self.found) != FULL
    }

    /// Claims a place in the buffer for a piece that begins with the sequence number `first`. The caller holds the
    /// lock.
    #[inline(always)]
    pub fn claim(&mut self, first: u32, length: u32) -> Claim {
        self.same = Self::search(&self.places, |place| {
            some(place.length) & (1 - some(place.first ^ first))
        });
        let same = widen(&self.same);
        if same != FULL {
            // A retransmission may be longer than the stored piece: only the new part is stored.
            return Claim(STORED | (self.places[same as usize & (PIECES - 1)].length & !CLAIMED));
        }
        self.free = Self::search(&self.places, |place| 1 - some(place.length));
        let free = widen(&self.free);
        if free != FULL {
            self.places[free as usize & (PIECES - 1)] = PiecePlace {
                first,
                length: length | CLAIMED,
            };
        }
        Claim(free)
    }

    /// Claims the place `index` of the buffer. The caller knows that no other CPU stores the same piece, and holds the
    /// lock. Returns `false` if the place is not free.
    #[inline(always)]
    pub fn claim_at(&mut self, index: u32, first: u32, length: u32) -> bool {
        let place = &mut self.places[index as usize & (PIECES - 1)];
        let free = place.length == 0;
        if free {
            *place = PiecePlace {
                first,
                length: length | CLAIMED,
            };
        }
        free
    }

    /// Sets the place `index`, and so ends its claim. `place` is the position of the stored piece, or
    /// [`PiecePlace::FREE`] if the piece was not stored.
    #[inline(always)]
    pub fn set_place(&mut self, index: u32, place: PiecePlace) {
        let at = &raw mut self.places[index as usize & (PIECES - 1)];
        // The place is written as one word, so that a CPU that reads it sees either the old or the new value.
        let word = u64::from(place.length) << 32 | u64::from(place.first);
        // SAFETY: a place has the size and the alignment of a word.
        unsafe { at.cast::<u64>().write_volatile(word) };
    }

    /// Begins to move the pieces whose [`HandshakePieceKey::from`] is `from`: the next piece is the one with the index
    /// 0.
    #[inline(always)]
    pub fn adopt_from(&mut self, from: u32) {
        set(&mut self.handshake_from, from);
        set(&mut self.handshake_index, 0);
    }

    /// Sets `key` to the key of the next piece that arrived before the connection was established (see
    /// [`HandshakePieceKey`]). The values `from` and `index` are read from memory, so that the verifier follows one
    /// path for all their values.
    #[inline(always)]
    pub fn next_handshake_key(&mut self, key: &mut HandshakePieceKey) {
        key.from = widen(&self.handshake_from);
        key.index = widen(&self.handshake_index);
        set(&mut self.handshake_index, key.index.wrapping_add(1));
    }

    /// Returns the place that the last search by the reading CPU has found.
    #[inline(always)]
    pub fn found(&self) -> PiecePlace {
        self.places[widen(&self.found) as usize & (PIECES - 1)]
    }

    /// Frees the place that the last search by the reading CPU has found.
    #[inline(always)]
    pub fn free_found(&mut self) {
        self.set_place(widen(&self.found), PiecePlace::FREE);
    }

    /// Searches the buffer for a piece that holds the byte with the sequence number `next`. Returns whether there is
    /// such a piece.
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
    pub fn set_tcp_accepted(&mut self, up_to: u32) {
        set(&mut self.tcp_accepted, up_to);
    }

    /// Returns true if bytes from `next` on are missing and will not arrive. TCP had accepted these bytes when its
    /// progress was read, and the kernel does not pass accepted bytes to the programs again. If the bytes are neither
    /// read nor stored, and no CPU is just copying them, the programs never saw them.
    #[inline(always)]
    pub fn misses(&mut self, next: u32) -> bool {
        // A FIN takes one sequence number, too. So if TCP has accepted one number more, no byte is missing.
        widen(&self.tcp_accepted).wrapping_sub(next) as i32 > 1
            && !self.find(|place| below(next.wrapping_sub(place.first), place.length & !CLAIMED))
    }

    /// Returns whether no piece is stored.
    #[inline(always)]
    pub fn is_empty(&mut self) -> bool {
        !self.find(|place| some(place.length))
    }
}

/// Returns the length of a stored piece, or 0 while a CPU is still copying the piece to the buffer.
#[inline(always)]
fn published(place: PiecePlace) -> u32 {
    let claimed = opaque(u64::from(place.length >> 31));
    place.length & claimed.wrapping_sub(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut OutOfOrderBuffer, first: u32, length: u32) {
        let claim = buffer.claim(first, length);
        assert!(!claim.is_full() && claim.stored_length() == 0);
        buffer.set_place(claim.index(), PiecePlace { first, length });
    }

    #[test]
    fn finds_what_holds_a_byte_and_what_has_been_read() {
        let mut buffer = OutOfOrderBuffer::EMPTY;
        assert!(buffer.is_empty());
        let near_the_end = u32::MAX - 10;
        put(&mut buffer, near_the_end, 20);
        assert!(!buffer.is_empty());
        for (next, holds, read) in [
            (near_the_end.wrapping_sub(1), false, false),
            (near_the_end, true, false),
            (8, true, false),
            (9, false, true),
            (1000, false, true),
        ] {
            assert_eq!(
                (buffer.holds(next), buffer.has_read(next)),
                (holds, read),
                "{next}"
            );
        }
    }

    #[test]
    fn what_is_claimed_is_taken_but_not_there_to_read() {
        let mut buffer = OutOfOrderBuffer::EMPTY;
        let claim = buffer.claim(100, 50);
        assert!(!buffer.holds(100) && !buffer.has_read(1000) && !buffer.is_empty());
        assert_eq!(buffer.claim(100, 70).stored_length(), 50);
        assert!(!buffer.claim_at(claim.index(), 200, 50));
        buffer.set_place(claim.index(), PiecePlace::FREE);
        assert!(buffer.is_empty());
        assert!(buffer.claim_at(claim.index(), 200, 50));
        assert!(!buffer.holds(200) && !buffer.is_empty());
    }

    #[test]
    fn what_tcp_has_taken_and_nobody_has_is_missing() {
        let mut buffer = OutOfOrderBuffer::EMPTY;
        let near_the_end = u32::MAX - 10;
        put(&mut buffer, 500, 20);
        let copying = buffer.claim(near_the_end, 20);
        for (next, taken, missing) in [
            (100, 100, false),
            // No byte is missing: TCP's progress was read before the last bytes were read (50), or includes a FIN
            // (101).
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
            buffer.set_tcp_accepted(taken);
            assert_eq!(buffer.misses(next), missing, "{next} {taken}");
        }
        buffer.set_tcp_accepted(9);
        buffer.set_place(copying.index(), PiecePlace::FREE);
        assert!(buffer.misses(near_the_end));
    }

    #[test]
    fn t7_no_pod_can_take_all() {
        for hostile in [1, 2, 10, 100] {
            // Each pod takes one more piece in turn, until no pod may have more.
            let pieces = &mut [0u64; 100][..hostile];
            loop {
                let before: u64 = pieces.iter().sum();
                for pod in 0..hostile {
                    let all = pieces.iter().sum();
                    if share_has_room(pieces[pod], all) {
                        pieces[pod] += 1;
                    }
                }
                if pieces.iter().sum::<u64>() == before {
                    break;
                }
            }
            let all: u64 = pieces.iter().sum();
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
        let mut buffer = OutOfOrderBuffer::EMPTY;
        for piece in 0..PIECES as u32 {
            put(&mut buffer, piece * 10, 10);
        }
        assert!(buffer.claim(u32::MAX, 1).is_full());
        assert_eq!(buffer.claim(10, 30).stored_length(), 10);
        assert!(buffer.has_read(10));
        assert_eq!(
            buffer.found(),
            PiecePlace {
                first: 0,
                length: 10
            }
        );
        buffer.free_found();
        assert!(!buffer.claim(u32::MAX, 1).is_full());
    }
}
