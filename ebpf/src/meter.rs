//! Counting in a pod's cells: plain atomic adds, no lock (see [`PodCounters`]).

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_spin_lock, bpf_spin_unlock};
use ebb_common::{
    abi::{MAX_PODS, PodCounters},
    conn::Lock,
    latency::BUCKETS,
    packet::{Gauge, Meter},
};

use crate::maps::PODS;

/// A pod's cells.
pub struct Pod {
    cells: *mut PodCounters,
}

/// One atomic add. Relaxed, so that it compiles to the instruction that every kernel has.
#[inline(always)]
fn add(cell: *mut u64, by: u64) {
    // SAFETY: the callers pass a cell of a map value that the verifier has seen looked up.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, by) };
}

impl Pod {
    /// The cells of a slot.
    #[inline(always)]
    pub fn of(slot: u32) -> Option<Self> {
        if slot >= MAX_PODS {
            return None;
        }
        PODS.get_ptr_mut(slot).map(|cells| Self { cells })
    }

    /// A connection opened.
    #[inline(always)]
    pub fn opened(&mut self) {
        // SAFETY: as in `add`.
        add(unsafe { &raw mut (*self.cells).opened }, 1);
    }

    /// A connection closed.
    #[inline(always)]
    pub fn closed(&mut self) {
        // SAFETY: as in `add`.
        add(unsafe { &raw mut (*self.cells).closed }, 1);
    }

    /// The last of the adds that make up starts or ends.
    #[inline(always)]
    fn settle(&mut self, count: u64) {
        // SAFETY: as in `add`.
        add(unsafe { &raw mut (*self.cells).settled }, count);
    }
}

impl Meter for Pod {
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: no arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn start(&mut self, count: u64, now: u64) {
        // SAFETY: as in `add`, for both.
        add(unsafe { &raw mut (*self.cells).started }, count);
        // SAFETY: as above.
        add(
            unsafe { &raw mut (*self.cells).area },
            now.wrapping_mul(count).wrapping_neg(),
        );
        self.settle(count);
    }

    #[inline(always)]
    fn end(&mut self, way: usize, count: u64, now: u64) {
        // SAFETY: as in `add`; all ways are below 8.
        add(
            unsafe { (&raw mut (*self.cells).ended).cast::<u64>().add(way & 7) },
            count,
        );
        // SAFETY: as above.
        add(
            unsafe { &raw mut (*self.cells).area },
            now.wrapping_mul(count),
        );
        self.settle(count);
    }

    #[inline(always)]
    fn latency(&mut self, bucket: usize) {
        const _: () = assert!(BUCKETS.is_power_of_two());
        // SAFETY: as in `add`; within the array by the mask.
        add(
            unsafe {
                (&raw mut (*self.cells).latency)
                    .cast::<u64>()
                    .add(bucket & (BUCKETS - 1))
            },
            1,
        );
    }

    #[inline(always)]
    fn gauge(&mut self, gauge: Gauge, by: u64) {
        // SAFETY: as in `add`, for both.
        let cell = unsafe {
            match gauge {
                Gauge::Upgraded => &raw mut (*self.cells).upgraded,
                Gauge::Opaque => &raw mut (*self.cells).opaque,
            }
        };
        add(cell, by);
    }

    #[inline(always)]
    fn locked<R>(&self, lock: *mut Lock, change: impl FnOnce() -> R) -> R {
        // SAFETY: the lock is that of a map value; the verifier sees to it that it is released.
        unsafe { bpf_spin_lock(lock.cast()) };
        let result = change();
        // SAFETY: as above.
        unsafe { bpf_spin_unlock(lock.cast()) };
        result
    }
}
