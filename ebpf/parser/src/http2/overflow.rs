//! Overflow tables: the streams of connections that have more streams in flight than fit in [`super::Streams`].
//!
//! The programs of a node share a few overflow tables. A connection claims a table for the first stream that has no
//! place, and frees it when no stream is left in it, or when the connection closes. The entries of a freed table stay:
//! each entry names the claim to which it belongs, so that entries of earlier claims are free places. Bias: if no table
//! is free, the connection becomes opaque. Failure mode: a stream that begins while its connection is being closed on
//! another CPU is written to a table that has just been freed. If another connection claims this table within the same
//! microseconds, and uses the same place, its stream is counted until the connection closes.

use core::ptr::NonNull;

use ebb_abi::NO_SLOT;

use super::streams::{Note, StreamPlace, WAYS, choose, masked, places};
use crate::{
    branchless::{opaque, some},
    window::lowest_byte,
};

/// Number of sets in a table, a power of two. Two thirds of all places can be used before a stream finds no place.
const SETS: u32 = 2048;

/// Number of places in a table.
pub const OVERFLOW_STREAMS: usize = (SETS * WAYS) as usize;

/// Position in an entry of the number of its claim. The stream identifier is in the bits below.
const CLAIM: u32 = 32;

/// An overflow table.
#[repr(C)]
#[derive(Debug)]
pub struct OverflowTable {
    /// Stream identifiers with the number of their claims ([`CLAIM`]); 0: a free place.
    entries: [u64; OVERFLOW_STREAMS],
    /// The [`Note`] of each stream.
    notes: [Note; OVERFLOW_STREAMS],
}

/// The claim of a connection to an overflow table.
#[derive(Clone, Copy, Debug)]
pub struct OverflowClaim {
    /// Number of the table.
    pub index: u32,
    /// Number of this claim: no other claim to the table has the same number.
    pub generation: u32,
}

/// The use of the node's overflow tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct OverflowTables {
    free: u64,
    own: u64,
}

impl OverflowTables {
    /// Counts a table that the pod `owner` uses, as seen by the pod `slot`.
    #[inline(always)]
    pub fn count(&mut self, owner: u32, slot: u32) {
        self.free += 1 - opaque(some(owner ^ NO_SLOT));
        self.own += 1 - opaque(some(owner ^ slot));
    }

    /// Returns whether the pod may claim one more table: it may have as many as are free, so that room is left for other
    /// pods (see [`crate::out_of_order::share_has_room`]).
    #[inline(always)]
    pub fn has_room(self) -> bool {
        self.own < self.free
    }
}

/// The overflow table of a connection, if it has one.
#[derive(Clone, Copy)]
pub(super) struct Overflow {
    table: Option<NonNull<OverflowTable>>,
    generation: u64,
}

impl Overflow {
    /// The overflow table of a connection without one.
    pub(super) const NONE: Self = Self {
        table: None,
        generation: 0,
    };

    #[inline(always)]
    pub(super) fn new(table: Option<NonNull<OverflowTable>>, generation: u32) -> Self {
        Self {
            table,
            generation: u64::from(generation) << CLAIM,
        }
    }

    /// Returns whether the connection has an overflow table.
    #[inline(always)]
    pub(super) fn is_some(self) -> bool {
        self.table.is_some()
    }

    /// Returns the connection's table.
    #[inline(always)]
    fn table<'a>(self) -> Option<&'a mut OverflowTable> {
        // SAFETY: the pointer is to a map value, which is never freed while a program runs. Only the program that has
        // claimed the table changes it; its CPUs change different fields, or hold the connection's lock.
        self.table.map(|mut table| unsafe { table.as_mut() })
    }

    /// Returns the place of a stream in flight, or `None` if the stream is not in the table.
    #[inline(always)]
    pub(super) fn find(self, id: u32) -> Option<StreamPlace> {
        let table = self.table()?;
        if id == 0 {
            return None;
        }
        let entry = self.generation | u64::from(id);
        let is_it = |other: u64| {
            let different = other ^ entry;
            1 - opaque(some(different as u32 | (different >> CLAIM) as u32))
        };
        let (mut set, other) = sets(id);
        let mut found = places(&table.entries, bounded(set), is_it);
        if found == 0 {
            set = other;
            found = places(&table.entries, bounded(set), is_it);
        }
        (found != 0).then(|| StreamPlace::overflow(set + lowest_byte(found) as usize))
    }

    /// Returns a free place for a stream, in the set with more room. Returns `None` if both sets are full, or if the
    /// connection has no table.
    #[inline(always)]
    pub(super) fn free(self, id: u32) -> Option<StreamPlace> {
        let table = self.table()?;
        let generation = self.generation;
        let is_free = |entry: u64| {
            let is_old = opaque(some(((entry ^ generation) >> CLAIM) as u32));
            is_old | (1 - opaque(some(entry as u32)))
        };
        let (set, other) = sets(id);
        let free = places(&table.entries, bounded(set), is_free);
        let free_there = places(&table.entries, bounded(other), is_free);
        choose((set, free), (other, free_there)).map(StreamPlace::overflow)
    }

    /// Puts a stream into a free place. From then on, other CPUs can find the stream.
    #[inline(always)]
    pub(super) fn put(self, at: usize, id: u32, note: Note) {
        let entry = self.generation | u64::from(id);
        if let Some(table) = self.table() {
            table.notes[masked::<{ OVERFLOW_STREAMS - 1 }>(at)] = note;
            table.set_entry(at, entry);
        }
    }

    /// Removes the stream in a place.
    #[inline(always)]
    pub(super) fn remove(self, at: usize) {
        if let Some(table) = self.table() {
            table.set_entry(at, 0);
        }
    }

    /// Returns the identifier of the stream in a place, or 0 if the place is free.
    #[inline(always)]
    pub(super) fn id(self, at: usize) -> u32 {
        let Some(table) = self.table() else { return 0 };
        let entry = &raw const table.entries[masked::<{ OVERFLOW_STREAMS - 1 }>(at)];
        // SAFETY: a reference is valid for reads.
        let entry = unsafe { entry.read_volatile() };
        if (entry ^ self.generation) >> CLAIM == 0 {
            entry as u32
        } else {
            0
        }
    }

    /// Returns the note of the stream in a place.
    #[inline(always)]
    pub(super) fn note<'a>(self, at: usize) -> Option<&'a mut Note> {
        let table = self.table()?;
        Some(&mut table.notes[masked::<{ OVERFLOW_STREAMS - 1 }>(at)])
    }
}

impl OverflowTable {
    #[inline(always)]
    fn set_entry(&mut self, at: usize, entry: u64) {
        let place = &raw mut self.entries[masked::<{ OVERFLOW_STREAMS - 1 }>(at)];
        // SAFETY: a reference is valid for writes.
        unsafe { place.write_volatile(entry) };
    }
}

/// Bounds the index of a set's first place (see [`masked`]).
#[inline(always)]
fn bounded(set: usize) -> usize {
    masked::<{ OVERFLOW_STREAMS - WAYS as usize }>(set)
}

/// Returns the two sets in which a stream may be (see `Streams::sets`).
#[inline(always)]
fn sets(id: u32) -> (usize, usize) {
    super::streams::sets::<SETS>(id)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{boxed::Box, vec::Vec};

    fn table() -> Box<OverflowTable> {
        // SAFETY: the table is made of integers, for which zero is a valid value.
        unsafe { Box::new_zeroed().assume_init() }
    }

    fn put(overflow: Overflow, id: u32) -> bool {
        let Some(place) = overflow.free(id) else {
            return false;
        };
        let at = place.in_overflow(overflow).expect("a place in the table");
        overflow.put(at, id, Note::new(u64::from(id), false));
        true
    }

    #[test]
    fn ten_thousand_streams_have_room_whatever_their_age() {
        let mut table = table();
        let overflow = Overflow::new(Some(NonNull::from(&mut *table)), 1);
        let mut living = Vec::new();
        // From 10 000 streams on, each new stream first ends a stream of any age.
        let mut number = 1u32;
        for id in (1..400_001).step_by(2) {
            if living.len() == 10_000 {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let ends: u32 = living.swap_remove((number >> 8) as usize % living.len());
                let place = overflow.find(ends).expect("in flight");
                overflow.remove(place.in_overflow(overflow).expect("in the table"));
                assert!(overflow.find(ends).is_none());
            }
            assert!(put(overflow, id), "no room for {id}");
            living.push(id);
        }
        for id in living {
            let place = overflow.find(id).expect("in flight");
            let at = place.in_overflow(overflow).expect("in the table");
            let since = overflow.note(at).map(|note| note.since());
            assert_eq!((overflow.id(at), since), (id, Some(u64::from(id))));
        }
    }

    #[test]
    fn what_an_earlier_claim_left_is_free() {
        let mut table = table();
        let earlier = Overflow::new(Some(NonNull::from(&mut *table)), 1);
        let mut count = 0;
        while put(earlier, count * 2 + 1) {
            count += 1;
        }
        assert_eq!(count as usize, OVERFLOW_STREAMS);
        let later = Overflow::new(Some(NonNull::from(&mut *table)), 2);
        assert!((0..count).all(|n| later.find(n * 2 + 1).is_none()));
        assert!((0..OVERFLOW_STREAMS).all(|at| later.id(at) == 0));
        assert!((0..count).all(|n| put(later, n * 2 + 1)));
        assert!((0..count).all(|n| earlier.find(n * 2 + 1).is_none()));
    }

    #[test]
    fn t7_no_pod_can_take_all_tables() {
        let mut owners = [NO_SLOT; ebb_abi::OVERFLOW_TABLES as usize];
        let mut claim = |slot| {
            let mut tables = OverflowTables::default();
            owners.iter().for_each(|owner| tables.count(*owner, slot));
            let free = owners.iter().position(|owner| *owner == NO_SLOT);
            match free {
                Some(free) if tables.has_room() => owners[free] = slot,
                _ => return false,
            }
            true
        };
        assert_eq!((0..100).filter(|_| claim(1)).count(), 16);
        assert_eq!((0..100).filter(|_| claim(2)).count(), 8);
        assert!(claim(3) && !claim(1));
    }

    #[test]
    fn a_connection_without_a_table_has_no_place() {
        assert!(Overflow::NONE.find(1).is_none() && Overflow::NONE.free(1).is_none());
    }
}
