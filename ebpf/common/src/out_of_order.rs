//! Segments that have come before their turn, put aside until what is missing has come.
//!
//! Where a body goes on its bytes do not matter, and nothing is kept. In a head, or where frames begin, they do: the kernel
//! puts such a segment into the socket's queue and never shows it again. So it is copied, in pieces, and read when
//! its turn comes. The same is done with a segment that comes while another one is being read (see [`crate::turn`]).
//! A connection has room for [`PIECES`], a pod for its share of all ([`share_has_room`]); a connection that needs more
//! becomes opaque.
//!
//! Several may put aside at once: they claim a place under the lock, copy, and publish it. One reads, and frees.

use crate::{
    abi::Ends,
    conn::Lock,
    window::{LOAD, forget, set},
};

/// Most bytes of a piece, a power of two.
pub const PIECE: usize = 2048;

/// Words of a piece: as many as can be read from its last byte on are there, too.
pub const PIECE_WORDS: usize = (PIECE + LOAD as usize) / 8 + 1;

/// Pieces that one connection can have, a power of two. A packet of 1448 bytes takes one, one of 64 KiB takes 32.
pub const PIECES: usize = 512;

/// Pieces that all connections of a node can have: 9 MiB, and as much of the network's traffic out of turn at one time.
pub const MAX_PIECES: u32 = 4096;

/// Whether a pod with so many pieces may have one more, if all pods of the node have `all`.
///
/// A pod may have as many as are free. So one alone gets half of the buffer, n that want all of it get one part in n + 1
/// each, and as much stays free: whatever others do, there is room for a pod that begins to need some. (Choudhury and Hahne,
/// "Dynamic queue length thresholds for shared-memory packet switches", 1998.)
#[inline(always)]
pub fn share_has_room(own: u64, all: u64) -> bool {
    // Either count may be below 0 for a moment, while CPUs add to it.
    (own as i64) < i64::from(MAX_PIECES) - all as i64
}

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

/// Pieces that a connection takes on as it is made: the packet that makes it, and what came on other CPUs meanwhile.
pub const ADOPTED_PIECES: u32 = 48;

/// Such pieces of all connections of a node that are kept. Each lives for as long as its packet takes to make the
/// connection; one that is evicted makes that connection opaque.
pub const MAX_EARLY_PIECES: u32 = 512;

/// How far what came early can be ahead of what is first: a client sends no more before it has been answered. What is
/// farther away was kept for an earlier connection with the same ends, which has not been made.
pub const EARLY_REACH: u32 = 1 << 20;

/// Which of such pieces it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyKey {
    /// The connection's ends.
    pub ends: Ends,
    /// The CPU where its packet is at the listening socket, or [`MEANWHILE`].
    pub from: u32,
    /// Its index in the packet; of those that came meanwhile, among them all.
    pub index: u32,
}

/// In [`EarlyKey::from`]: it came while another packet, which has its place, was making the connection.
pub const MEANWHILE: u32 = u32::MAX;

/// A piece: as plain words.
pub type Piece = [u64; PIECE_WORDS];

/// Where a piece lies in its stream.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number of its first byte.
    pub first: u32,
    /// Its bytes; 0: none. With [`CLAIMED`] while they are still being copied.
    pub length: u32,
}

/// In [`Place::length`]: somebody is copying the piece.
const CLAIMED: u32 = 1 << 31;

impl Place {
    /// No piece.
    pub const FREE: Self = Self {
        first: 0,
        length: 0,
    };
}

/// What [`Stash::claim`] says in place of an index: there is no room.
const FULL: u32 = u32::MAX;

/// What [`Stash::claim`] adds to the length that is there already.
const THERE: u32 = 1 << 30;

/// What has become of a wish to put a piece aside. In one word, as each variant of an enumeration would be a way of
/// its own for the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim(u32);

impl Claim {
    /// There is no room.
    #[inline(always)]
    pub fn is_full(self) -> bool {
        self.0 == FULL
    }

    /// So many bytes from there on have been put aside before; 0 if none have.
    #[inline(always)]
    pub fn there(self) -> u32 {
        if self.0 & THERE == 0 {
            0
        } else {
            self.0 & !THERE
        }
    }

    /// The place claimed.
    #[inline(always)]
    pub fn index(self) -> u32 {
        self.0
    }
}

/// What a connection has kept, in a storage of its socket that only such connections have.
#[repr(C)]
#[derive(Debug)]
pub struct Stash {
    /// Guards which places are claimed.
    pub lock: Lock,
    /// The place that a search of the reader has found.
    found: u32,
    /// The place that a search under the lock has found.
    free: u32,
    /// The piece that one under the lock has found.
    same: u32,
    /// Where the next piece that came early is looked for, as in [`EarlyKey`].
    early_from: u32,
    early_index: u32,
    /// Sequence number up to which TCP had taken what the client sends, when it was last asked.
    taken: u32,
    reserved: u32,
    /// The socket's cookie: the first part of each piece's key.
    pub socket: u64,
    /// Where the pieces lie.
    pub places: [Place; PIECES],
}

impl Stash {
    /// Without pieces: all zeros.
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

    /// Looks for a place for which `wanted` is 1 and not 0.
    ///
    /// Without branches: each would be two ways for the verifier to follow, for each of the places.
    #[inline(always)]
    fn search(places: &[Place; PIECES], wanted: impl Fn(Place) -> u64) -> u32 {
        let mut found = u64::from(FULL);
        for (index, place) in places.iter().enumerate() {
            let this = opaque(0u64.wrapping_sub(wanted(*place)));
            found = (found & !this) | (index as u64 & this);
        }
        found as u32
    }

    /// Searches for the reader; the index is in `found` then.
    #[inline(always)]
    fn find(&mut self, wanted: impl Fn(Place) -> u64) -> bool {
        self.found = Self::search(&self.places, wanted);
        forget(&self.found) != FULL
    }

    /// Asks for a place for a piece of which this is the first byte. To be called under the lock.
    #[inline(always)]
    pub fn claim(&mut self, first: u32, length: u32) -> Claim {
        self.same = Self::search(&self.places, |place| {
            some(place.length) & (1 - some(place.first ^ first))
        });
        let same = forget(&self.same);
        if same != FULL {
            // What is sent again may reach farther: only that is kept anew.
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

    /// Claims one place for a piece that nobody else has. `false` if it is taken. To be called under the lock.
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

    /// Ends a claim: the piece is there, or ([`Place::FREE`]) it is not.
    #[inline(always)]
    pub fn settle(&mut self, index: u32, place: Place) {
        let at = &raw mut self.places[index as usize & (PIECES - 1)];
        // In one word, so that whoever reads sees all of it or nothing.
        let word = u64::from(place.length) << 32 | u64::from(place.first);
        // SAFETY: a place, of the size and alignment of a word.
        unsafe { at.cast::<u64>().write_volatile(word) };
    }

    /// The first piece that came early is to be looked for here.
    #[inline(always)]
    pub fn adopt_from(&mut self, from: u32) {
        set(&mut self.early_from, from);
        set(&mut self.early_index, 0);
    }

    /// Says where to look for the next piece that came early. As it is in memory, so that the verifier takes one for
    /// the other.
    #[inline(always)]
    pub fn next_early(&mut self, key: &mut EarlyKey) {
        key.from = forget(&self.early_from);
        key.index = forget(&self.early_index);
        set(&mut self.early_index, key.index.wrapping_add(1));
    }

    /// The place found last.
    #[inline(always)]
    pub fn found(&self) -> Place {
        self.places[forget(&self.found) as usize & (PIECES - 1)]
    }

    /// Frees the place found last.
    #[inline(always)]
    pub fn free_found(&mut self) {
        self.settle(forget(&self.found), Place::FREE);
    }

    /// Looks for the piece that holds the byte with this sequence number.
    #[inline(always)]
    pub fn holds(&mut self, next: u32) -> bool {
        self.find(|place| below(next.wrapping_sub(place.first), published(place)))
    }

    /// Looks for a piece of which all has been read.
    #[inline(always)]
    pub fn has_read(&mut self, next: u32) -> bool {
        self.find(|place| {
            let behind = next.wrapping_sub(place.first.wrapping_add(place.length));
            some(published(place)) & (1 - u64::from(behind >> 31))
        })
    }

    /// TCP has taken what the client sends up to this sequence number. To be said before what is kept is read.
    #[inline(always)]
    pub fn tcp_has_taken(&mut self, up_to: u32) {
        set(&mut self.taken, up_to);
    }

    /// Whether bytes from `next` on are missing that will not come: TCP had taken them when it was asked, and shows none
    /// again that it has taken. What it had taken by then has been read, or is kept, or is just being copied by
    /// somebody who came first with it.
    #[inline(always)]
    pub fn misses(&mut self, next: u32) -> bool {
        // A FIN has a sequence number, too.
        forget(&self.taken).wrapping_sub(next) as i32 > 1
            && !self.find(|place| below(next.wrapping_sub(place.first), place.length & !CLAIMED))
    }

    /// Whether nothing is kept.
    #[inline(always)]
    pub fn is_empty(&mut self) -> bool {
        !self.find(|place| some(place.length))
    }
}

/// A piece's length, or 0 while it is still being copied.
#[inline(always)]
fn published(place: Place) -> u32 {
    let claimed = opaque(u64::from(place.length >> 31));
    place.length & claimed.wrapping_sub(1) as u32
}

/// 1 if a number is not 0.
#[inline(always)]
fn some(number: u32) -> u64 {
    opaque(0u64.wrapping_sub(u64::from(number))) >> 63
}

/// 1 if the one number is below the other.
#[inline(always)]
fn below(one: u32, other: u32) -> u64 {
    opaque(u64::from(one).wrapping_sub(u64::from(other))) >> 63
}

/// A number of which the compiler knows nothing: else it finds out what the arithmetic around it means, and
/// makes branches of it.
#[inline(always)]
fn opaque(number: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut number = number;
        // SAFETY: nothing is done.
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
            // What was asked before something was read, and a FIN.
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
            // All of them want whatever they can get.
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
