//! The maximum number of pods desired recently. This maximum delays a scale-down until a lower number has lasted for
//! the scale-down delay.
//!
//! The implementation is a sliding maximum over slots of two seconds (the "ascending minima" algorithm, as in Knative's
//! `pkg/autoscaler/aggregation/max`). An entry is kept only while it can still become the maximum, so the entries are
//! in falling order. Of two numbers in one slot, the larger one counts. If the clock steps back, a new number is
//! recorded in the newest slot.

use std::{collections::VecDeque, time::Duration};

use crate::time::Timestamp;

/// Length of a slot, i.e. of the period for which one number of pods is stored: the time between two decisions.
const SLOT_SECONDS: i64 = 2;

/// A sliding maximum of the number of desired pods.
#[derive(Clone, Debug, Default)]
pub struct DelayWindow {
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: i64,
    pods: u32,
}

impl DelayWindow {
    /// Records the number of pods desired at `now`, and returns the maximum of the numbers recorded within the last
    /// `delay`.
    ///
    /// `delay` may differ from call to call. A `delay` of zero removes all entries and returns `pods`.
    pub fn record(&mut self, now: Timestamp, delay: Duration, pods: u32) -> u32 {
        if delay.is_zero() {
            // Unlike `clear`, a new `VecDeque` frees the memory. Few workloads use a scale-down delay, so for most of
            // them no memory is needed here.
            self.entries = VecDeque::new();
            return pods;
        }
        let slots = i64::try_from(
            delay
                .as_nanos()
                .div_ceil(SLOT_SECONDS as u128 * 1_000_000_000),
        )
        .unwrap_or(i64::MAX);
        self.record_slot(now.second() / SLOT_SECONDS, slots, pods)
    }

    /// Like [`Self::record`], but the time is a slot number: records the number of pods desired in `slot`, and returns
    /// the maximum of the last `slots` slots.
    pub fn record_slot(&mut self, slot: i64, slots: i64, mut pods: u32) -> u32 {
        let slot = self
            .entries
            .back()
            .map_or(slot, |newest| newest.slot.max(slot));
        while self.entries.back().is_some_and(|entry| entry.pods <= pods) {
            self.entries.pop_back();
        }
        while self
            .entries
            .front()
            .is_some_and(|entry| slot.saturating_sub(entry.slot) >= slots)
        {
            self.entries.pop_front();
        }
        if let Some(newest) = self.entries.back()
            && newest.slot == slot
        {
            pods = pods.max(newest.pods);
            self.entries.pop_back();
        }
        self.entries.push_back(Entry { slot, pods });
        self.entries.front().map_or(pods, |greatest| greatest.pods)
    }

    /// Returns the size of the heap memory in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}
