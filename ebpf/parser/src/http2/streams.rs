//! The streams of one connection that are in flight.
//!
//! The streams are in a hash table of sets, each with eight places (one for each stream). A stream can be in one of two
//! sets: it is stored in the set that has more free places. So the sets fill up evenly, even if some streams live long
//! and others do not. (Measured with random lifetimes: with one set of four places for each stream, 100 streams at a
//! time filled a set after 460 streams. With two sets of eight places, 250 streams at a time filled no set in 40
//! million streams.) A stream that does not fit is in an overflow table (see [`super::overflow`]). Bias: nothing is
//! guessed. If no overflow table is free, the connection becomes opaque.

use super::overflow::Overflow;
use crate::{
    branchless::below,
    window::{ONES, lowest_byte, set, widen},
};

/// Number of sets in the table, a power of two.
const SETS: u32 = 64;

/// Number of places in a set. A word has one byte for each of them.
pub(super) const WAYS: u32 = 8;

/// Number of places in the table of one connection. Servers that set a limit allow 100 to 250 streams. With this number,
/// an [`super::Http2`] and the bytes that the kernel puts before it are smaller than 8 KiB together. The kernel does
/// not allocate more while it handles a packet (from 6.18 on, `kmalloc_nolock` in mm/slub.c).
pub const STREAMS: usize = (SETS * WAYS) as usize;

/// The golden ratio's fraction in 32 bits: its multiples are spread evenly (Knuth, volume 3, section 6.4).
const GOLDEN: u32 = 0x9e37_79b1;

/// Mask of the 60 bits of a [`Note`] that hold the start time of a stream, ns: enough for 36 years of uptime.
const SINCE: u64 = (1 << CLASS) - 1;

/// Position in a [`Note`] of the three bits that hold the status class.
const CLASS: u32 = 60;

/// Bit of a [`Note`]: the stream has been excluded.
const EXCLUDED: u64 = 1 << 63;

/// All streams of a connection that are in flight.
#[repr(C)]
#[derive(Debug)]
pub struct Streams {
    /// Stream identifiers; 0: a free place.
    ids: [u32; STREAMS],
    /// The [`Note`] of each stream: its start time, ns ([`SINCE`]), its status class (0 before it is known), and
    /// [`EXCLUDED`].
    notes: [Note; STREAMS],
}

/// The place of a stream: in the connection's table (`0 .. STREAMS`), or in its overflow table (from [`STREAMS`] on).
#[derive(Clone, Copy)]
pub(super) struct StreamPlace(usize);

/// The note of a stream: its start time, its status class, and whether it is excluded.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Note(u64);

impl Note {
    const NONE: Self = Self(0);

    /// Returns the note of a stream that begins.
    #[inline(always)]
    pub(super) fn new(since: u64, excluded: bool) -> Self {
        Self(since & SINCE | u64::from(excluded) << 63)
    }

    /// Returns this note with a status class.
    #[inline(always)]
    fn with_class(self, class: u8) -> Self {
        Self(self.0 & (SINCE | EXCLUDED) | u64::from(class & 7) << CLASS)
    }

    /// Returns the start time of the stream, ns.
    #[inline(always)]
    pub(super) fn since(self) -> u64 {
        self.0 & SINCE
    }

    /// Returns the status class of the response; 0 before it is known.
    #[inline(always)]
    pub(super) fn class(self) -> usize {
        (self.0 >> CLASS) as usize & 7
    }

    /// Returns whether the stream has been excluded.
    #[inline(always)]
    pub(super) fn is_excluded(self) -> bool {
        self.0 & EXCLUDED != 0
    }
}

impl Streams {
    /// A table without streams.
    pub(super) const NONE: Self = Self {
        ids: [0; STREAMS],
        notes: [Note::NONE; STREAMS],
    };

    /// Returns the places of a set that hold the stream identifier `id` (0: the free places), as the high bit of one
    /// byte for each place.
    #[inline(always)]
    fn with(&self, set: usize, id: u32) -> u64 {
        let set = masked::<{ STREAMS - WAYS as usize }>(set);
        places(&self.ids, set, |other| {
            u64::from(other ^ id).wrapping_sub(1) >> 63
        })
    }

    /// Returns whether a set has no stream.
    #[inline(always)]
    fn is_empty(&self, set: usize) -> bool {
        let set = masked::<{ STREAMS - WAYS as usize }>(set);
        let mut any = 0;
        for way in 0..WAYS as usize {
            any |= self.ids[set + way];
        }
        any == 0
    }

    /// Returns the place of a stream in flight, or `None` if the stream is in no table.
    #[inline(always)]
    pub(super) fn find(&self, overflow: Overflow, id: u32) -> Option<StreamPlace> {
        let (mut set, other) = sets::<SETS>(id);
        let mut found = self.with(set, id);
        if found == 0 {
            set = other;
            found = self.with(set, id);
        }
        if found == 0 {
            return overflow.find(id);
        }
        // Identifier 0 never belongs to a stream in flight: HTTP/2 uses it for the connection, and this table for a
        // free place.
        if id == 0 {
            return None;
        }
        Some(StreamPlace(set + lowest_byte(found) as usize))
    }

    /// Returns whether a stream is still in the place at which it was found.
    #[inline(always)]
    pub(super) fn is_at(&self, overflow: Overflow, place: StreamPlace, id: u32) -> bool {
        self.id(overflow, place) == id
    }

    /// Returns the identifier of the stream in a place, or 0 if the place is free.
    #[inline(always)]
    pub(super) fn id(&self, overflow: Overflow, place: StreamPlace) -> u32 {
        match place.in_overflow(overflow) {
            Some(at) => overflow.id(at),
            None => widen(&self.ids[place.index()]),
        }
    }

    /// Returns the greatest stream identifier in the connection's own table; 0: the table has no stream.
    #[inline(always)]
    pub(super) fn newest(&self) -> u32 {
        let mut newest = 0;
        for place in &self.ids {
            let id = u64::from(widen(place));
            let greater = 0u64.wrapping_sub(below(newest as u32, id as u32));
            newest ^= (newest ^ id) & greater;
        }
        newest as u32
    }

    /// Returns a free place for a stream in the connection's own table, in the set with more room. Returns `None` if
    /// both sets are full.
    #[inline(always)]
    pub(super) fn free(&self, id: u32) -> Option<StreamPlace> {
        let (set, other) = sets::<SETS>(id);
        // Streams are numbered in order, so each new stream prefers the next set. Usually this set is empty.
        if self.is_empty(set) {
            return Some(StreamPlace(set));
        }
        choose((set, self.with(set, 0)), (other, self.with(other, 0))).map(StreamPlace)
    }

    /// Puts a stream into a free place.
    #[inline(always)]
    pub(super) fn put(&mut self, overflow: Overflow, place: StreamPlace, id: u32, note: Note) {
        if let Some(at) = place.in_overflow(overflow) {
            return overflow.put(at, id, note);
        }
        let at = place.index();
        self.notes[at] = note;
        // From this write on, other CPUs can find the stream. So its note is written before its identifier.
        set(&mut self.ids[at], id);
    }

    /// Returns the [`Note`] of the stream in a place. The note is read from memory each time, because another CPU may
    /// change it.
    #[inline(always)]
    pub(super) fn note(&self, overflow: Overflow, place: StreamPlace) -> Note {
        let note = match place.in_overflow(overflow) {
            Some(at) => match overflow.note(at) {
                Some(note) => &raw const *note,
                None => return Note::NONE,
            },
            None => &raw const self.notes[place.index()],
        };
        // SAFETY: a reference is valid for reads.
        unsafe { note.read_volatile() }
    }

    #[inline(always)]
    fn change_note(&mut self, overflow: Overflow, place: StreamPlace, to: impl Fn(Note) -> Note) {
        match place.in_overflow(overflow) {
            Some(at) => {
                if let Some(note) = overflow.note(at) {
                    *note = to(*note);
                }
            }
            None => {
                let note = &mut self.notes[place.index()];
                *note = to(*note);
            }
        }
    }

    /// Records the status class of a stream.
    #[inline(always)]
    pub(super) fn answered(&mut self, overflow: Overflow, place: StreamPlace, class: u8) {
        self.change_note(overflow, place, |note| note.with_class(class));
    }

    /// Marks a stream as excluded.
    #[inline(always)]
    pub(super) fn exclude(&mut self, overflow: Overflow, place: StreamPlace) {
        self.change_note(overflow, place, |note| Note(note.0 | EXCLUDED));
    }

    /// Removes a stream from its table.
    #[inline(always)]
    pub(super) fn remove(&mut self, overflow: Overflow, place: StreamPlace) {
        match place.in_overflow(overflow) {
            Some(at) => overflow.remove(at),
            None => set(&mut self.ids[place.index()], 0),
        }
    }
}

/// Returns the two sets in which a stream may be: the preferred set, and the second set. A set is given by the index of
/// its first place.
#[inline(always)]
pub(super) fn sets<const SETS: u32>(id: u32) -> (usize, usize) {
    // The identifiers of clients' streams are odd, so the lowest bit carries no information.
    let number = id >> 1;
    let mixed = number.wrapping_mul(GOLDEN) >> (u32::BITS - SETS.ilog2());
    let first = (number % SETS) * WAYS;
    (first as usize, (mixed * WAYS) as usize)
}

/// Returns the places of a set for whose entries `matches` returns 1 (not 0), as the high bit of one byte for each place.
///
/// The code has no branches: the verifier would follow two paths for each branch.
#[inline(always)]
pub(super) fn places<T: Copy, const N: usize>(
    entries: &[T; N],
    set: usize,
    matches: impl Fn(T) -> u64,
) -> u64 {
    let mut found = 0;
    for way in 0..WAYS as usize {
        found |= matches(entries[set + way]) << (way * 8 + 7);
    }
    found
}

/// Returns a free place in one of two sets, the one with more free places: the first one if both have as many. A set is
/// given by the index of its first place and by its free places. Returns `None` if both sets are full.
#[inline(always)]
pub(super) fn choose(one: (usize, u64), other: (usize, u64)) -> Option<usize> {
    let ((set, free), (other, free_there)) = (one, other);
    let count = |places: u64| (places >> 7).wrapping_mul(ONES) >> 56;
    // `there` is a mask: all its bits are set if the second set has more free places than the first one; otherwise
    // none.
    let there = (count(free).wrapping_sub(count(free_there)) >> 63).wrapping_neg();
    let set = set ^ ((set ^ other) & there as usize);
    let free = free ^ ((free ^ free_there) & there);
    (free != 0).then(|| set + lowest_byte(free) as usize)
}

impl StreamPlace {
    /// Returns the place with a number: `0 .. STREAMS` are in the connection's table, the others in its overflow table.
    #[inline(always)]
    pub(super) fn at(number: usize) -> Self {
        Self(number)
    }

    /// Returns the place with the number `at` of the overflow table.
    #[inline(always)]
    pub(super) fn overflow(at: usize) -> Self {
        Self(STREAMS + at)
    }

    /// Returns the number of this place in the overflow table, if it is there.
    #[inline(always)]
    pub(super) fn in_overflow(self, overflow: Overflow) -> Option<usize> {
        (overflow.is_some() && self.0 >= STREAMS).then(|| self.0 - STREAMS)
    }

    #[inline(always)]
    fn index(self) -> usize {
        masked::<{ STREAMS - 1 }>(self.0)
    }
}

/// Bounds an index with a mask that the compiler cannot remove. The compiler would remove a plain mask if it knows that
/// the index is in bounds. But the verifier of old kernels forgets the bounds of a number that has been on the stack.
#[inline(always)]
pub(super) fn masked<const MASK: usize>(index: usize) -> usize {
    #[cfg(target_arch = "bpf")]
    let index = {
        let mut index = index;
        // SAFETY: the instruction changes one register, and nothing else.
        unsafe {
            core::arch::asm!("{0} &= {mask}", inout(reg) index, mask = const MASK, options(pure, nomem, nostack))
        };
        index
    };
    // The same mask again: the compiler does not know that the assembly has bounded the index.
    index & MASK
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{boxed::Box, vec::Vec};

    fn put(streams: &mut Streams, id: u32) -> bool {
        let Some(place) = streams.free(id) else {
            return false;
        };
        streams.put(
            Overflow::NONE,
            place,
            id,
            Note::new(u64::from(id) << 32, false),
        );
        true
    }

    fn since(streams: &Streams, id: u32) -> Option<u64> {
        streams
            .find(Overflow::NONE, id)
            .map(|place| streams.note(Overflow::NONE, place).since())
    }

    #[test]
    fn numbered_in_turn_they_fill_every_place() {
        let mut streams = Box::new(Streams::NONE);
        let ids = (0..STREAMS as u32).map(|n| n * 2 + 1);
        for id in ids.clone() {
            assert!(put(&mut streams, id), "{id}");
        }
        assert!(!put(&mut streams, STREAMS as u32 * 2 + 1));
        for id in ids {
            assert_eq!(since(&streams, id), Some(u64::from(id) << 32));
        }
    }

    #[test]
    fn a_stream_that_lives_long_is_in_nobodys_way() {
        let mut streams = Box::new(Streams::NONE);
        let mut living = Vec::new();
        // From 250 streams in flight on, each new stream first ends a stream of any age. A generator with a fixed start
        // value chooses this stream, so the test always does the same.
        let mut number = 1u32;
        for id in (1..400_000).step_by(2) {
            if living.len() == 250 {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let ends: u32 = living.swap_remove((number >> 8) as usize % living.len());
                let place = streams.find(Overflow::NONE, ends).expect("in flight");
                streams.remove(Overflow::NONE, place);
                assert!(streams.find(Overflow::NONE, ends).is_none());
            }
            assert!(put(&mut streams, id), "no room for {id}");
            living.push(id);
        }
        for id in living {
            assert_eq!(since(&streams, id), Some(u64::from(id) << 32));
        }
    }

    #[test]
    fn what_is_noted_of_a_stream_is_kept_apart() {
        let mut streams = Box::new(Streams::NONE);
        assert!(put(&mut streams, 7));
        let place = streams.find(Overflow::NONE, 7).expect("in flight");
        streams.exclude(Overflow::NONE, place);
        streams.answered(Overflow::NONE, place, 5);
        streams.answered(Overflow::NONE, place, 2);
        let note = streams.note(Overflow::NONE, place);
        assert_eq!((note.class(), note.is_excluded()), (2, true));
        streams.put(Overflow::NONE, place, 9, Note::new(0, false));
        let note = streams.note(Overflow::NONE, place);
        assert_eq!((note.class(), note.is_excluded()), (0, false));
    }
}
