//! The pods' counters, mapped into this process. The kernel programs write them.
//!
//! A reading needs no system call, and the kernel programs continue to count during the reading. A reading that is
//! inconsistent for this reason is repeated; see [`PodCounters`].

use std::{
    mem::offset_of,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU64, Ordering},
};

use aya::maps::MapData;
use ebb_abi::{MAX_PODS, PodCounters, Sums, ended, latency::BUCKETS};
use memmap2::{MmapOptions, MmapRaw};

use crate::CounterError;

/// Maximum number of attempts at a reading. If the counters change a million times per second, about one attempt in ten
/// fails.
const TRIES: u32 = 1000;

/// The mapped counters of all pods.
#[derive(Debug)]
pub(crate) struct MappedCounters {
    memory: MmapRaw,
}

impl MappedCounters {
    /// Maps the values of the array `PODS` into this process.
    pub(crate) fn new(map: &MapData) -> Result<Self, CounterError> {
        let length = size_of::<PodCounters>() * MAX_PODS as usize;
        let memory = MmapOptions::new()
            .len(length)
            .map_raw(map.fd().as_fd().as_raw_fd())
            .map_err(CounterError::Mapping)?;
        Ok(Self { memory })
    }

    fn counter(&self, slot: u32, offset: usize) -> u64 {
        self.at(slot, offset).load(Ordering::Acquire)
    }

    fn at(&self, slot: u32, offset: usize) -> &AtomicU64 {
        assert!(
            slot < MAX_PODS && offset + 8 <= size_of::<PodCounters>(),
            "within the map"
        );
        // SAFETY: the assertion keeps the address within the mapping. The address is aligned, because all counters are
        // 64 bits wide and the mapping begins on a page. The kernel changes the counters only with atomic additions and
        // with stores of whole words.
        unsafe {
            &*self
                .memory
                .as_ptr()
                .add(slot as usize * size_of::<PodCounters>() + offset)
                .cast::<AtomicU64>()
        }
    }

    /// Sets the number of started requests at which the kernel wakes the agent: the current number of started requests,
    /// plus the number of further requests until `in_flight` requests are in flight, but at least one.
    pub(crate) fn wake_at(&self, slot: u32, in_flight: u64) {
        let started = self.counter(slot, offset_of!(PodCounters, started));
        let more = in_flight.saturating_sub(self.in_flight(slot)).max(1);
        self.at(slot, offset_of!(PodCounters, burst_threshold))
            .store(started.saturating_add(more), Ordering::Release);
    }

    /// Returns two numbers for a slot: the connections that were opened, and the connections that were closed.
    pub(crate) fn connections(&self, slot: u32) -> (u64, u64) {
        let closed = self.counter(slot, offset_of!(PodCounters, closed));
        (self.counter(slot, offset_of!(PodCounters, opened)), closed)
    }

    /// Returns the approximate number of requests in flight in a slot; changes during the call may be missing.
    pub(crate) fn in_flight(&self, slot: u32) -> u64 {
        // Ended requests are read first: a request that starts and ends during the call must not make the result
        // negative.
        let ended = (0..ended::WAYS)
            .map(|way| self.counter(slot, offset_of!(PodCounters, ended) + way * 8))
            .fold(0u64, u64::wrapping_add);
        self.counter(slot, offset_of!(PodCounters, started))
            .wrapping_sub(ended)
    }

    /// Reads a consistent state of one pod's counters.
    pub(crate) fn read(&self, slot: u32) -> Result<PodCounters, CounterError> {
        for _ in 0..TRIES {
            // The order of the reads makes it possible to detect that the kernel programs are changing the counters at
            // the same time. The kernel programs write `started` or `ended` first and `area` last, so this code reads
            // `area` first, and `started` and `ended` after it.
            let [start, end] = [
                offset_of!(PodCounters, starts),
                offset_of!(PodCounters, ends),
            ];
            let areas =
                || [start, end].map(|sums| self.counter(slot, sums + offset_of!(Sums, area)));
            let mut counters = PodCounters::ZERO;
            let area = areas();
            [counters.starts.area, counters.ends.area] = area;
            counters.ended = std::array::from_fn(|way| {
                self.counter(slot, offset_of!(PodCounters, ended) + way * 8)
            });
            counters.started = self.counter(slot, offset_of!(PodCounters, started));
            if !counters.is_whole() || areas() != area {
                std::hint::spin_loop();
                continue;
            }
            [counters.starts.http2, counters.ends.http2] =
                [start, end].map(|sums| self.counter(slot, sums + offset_of!(Sums, http2)));
            counters.upgraded = self.counter(slot, offset_of!(PodCounters, upgraded));
            counters.opaque = self.counter(slot, offset_of!(PodCounters, opaque));
            // `closed` is read before `opened`: a connection that opens and closes between the two reads must not make
            // the number of open connections negative.
            counters.closed = self.counter(slot, offset_of!(PodCounters, closed));
            counters.opened = self.counter(slot, offset_of!(PodCounters, opened));
            counters.latency = std::array::from_fn::<_, BUCKETS, _>(|bucket| {
                self.counter(slot, offset_of!(PodCounters, latency) + bucket * 8)
            });
            return Ok(counters);
        }
        Err(CounterError::Unsteady(slot, TRIES))
    }
}
