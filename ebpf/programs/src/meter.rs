//! Changes a pod's counters: with plain atomic adds, without a lock (see [`PodCounters`]).

use core::{
    arch::asm,
    intrinsics::{AtomicOrdering, atomic_xadd},
    ptr::NonNull,
};

use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_ns, bpf_spin_lock, bpf_spin_unlock},
    programs::SkBuffContext,
};
use ebb_abi::{
    ADDED, MAX_PODS, NO_BURST_THRESHOLD, NO_SLOT, OVERFLOW_TABLES, PodCounters, Sums, ended::WAYS,
    latency::BUCKETS,
};
use ebb_parser::{
    conn::Lock,
    http2::{OverflowClaim, OverflowTable, OverflowTables},
    packet::{Gauge, Meter},
};

use crate::maps::{EVENTS, OVERFLOW_OWNERS, OVERFLOW_TABLE, PODS, WAKES};

/// The counters of a pod. `OVERFLOW` says whether the program has the code for overflow tables: only the programs that
/// are reached by tail calls have it, because it would make the usual ones slower to load.
pub struct Pod<const OVERFLOW: bool = false> {
    counters: *mut PodCounters,
    /// Points to the time at which TCP sent the current packet, ns. The time is not known if this is `None`, or if the
    /// time is 0.
    stamp: Option<*const u64>,
}

/// Adds to a counter atomically. The memory order is relaxed, so that the add compiles to an instruction that every
/// kernel supports.
#[inline(always)]
pub fn add(counter: *mut u64, by: u64) {
    // SAFETY: the callers pass a counter of a map value, and the verifier has checked the lookup of this value.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, by) };
}

/// Bounds an index with `MASK`, which is a power of two minus 1. The mask is applied in assembly: in plain Rust, the
/// compiler would remove the mask wherever it has already found a bound, but the verifier does not find that bound.
#[inline(always)]
pub fn masked<const MASK: usize>(mut index: usize) -> usize {
    const { assert!((MASK + 1).is_power_of_two()) };
    // SAFETY: the instruction changes one register, and nothing else.
    unsafe {
        asm!("{0} &= {mask}", inout(reg) index, mask = const MASK, options(pure, nomem, nostack))
    };
    index
}

impl Pod {
    /// Returns the counters of a slot, or `None` if the slot is out of range.
    #[inline(always)]
    pub fn of(slot: u32) -> Option<Self> {
        if slot >= MAX_PODS {
            return None;
        }
        PODS.get_ptr_mut(slot).map(|counters| Self {
            counters,
            stamp: None,
        })
    }
}

impl<const OVERFLOW: bool> Pod<OVERFLOW> {
    /// Returns a second handle to the counters of this pod, with or without the code for overflow tables.
    #[inline(always)]
    pub fn again<const WITH: bool>(&self) -> Pod<WITH> {
        Pod {
            counters: self.counters,
            stamp: self.stamp,
        }
    }

    /// Uses the time stamp of the packet as the current time, which saves a helper call. TCP stamps each packet that it
    /// sends with `CLOCK_MONOTONIC` (`tcp_wstamp_ns` in net/ipv4/tcp_output.c). On a paced connection the stamp is the
    /// time at which the packet may leave.
    ///
    /// The time is kept in memory; 0 means that it is not known. If the time were in a register, the verifier would
    /// follow both results of the comparison with 0 to the end of the program.
    #[inline(always)]
    pub fn sends(&mut self, context: &SkBuffContext, stamp: &mut u64) {
        // SAFETY: the field is part of the program's context. Reading it needs CAP_BPF, as loading the program does.
        *stamp = unsafe { (*context.skb.skb).tstamp };
        self.stamp = Some(stamp);
    }

    /// Returns the counter of pieces that the pod's connections hold in the out-of-order buffer.
    #[inline(always)]
    pub fn pieces(&self) -> *mut u64 {
        // SAFETY: the pointer is to a field of a map value.
        unsafe { &raw mut (*self.counters).pieces }
    }

    /// Counts a connection that has opened.
    #[inline(always)]
    pub fn opened(&mut self) {
        // SAFETY: the pointer is to a counter of a map value.
        add(unsafe { &raw mut (*self.counters).opened }, 1);
    }

    /// Counts a connection that has closed.
    #[inline(always)]
    pub fn closed(&mut self) {
        // SAFETY: the pointer is to a counter of a map value.
        add(unsafe { &raw mut (*self.counters).closed }, 1);
    }

    /// Wakes user space once, when the number of started requests has reached the burst threshold that user space has
    /// set.
    #[inline(always)]
    fn wake(&mut self) {
        // SAFETY: the pointers are to counters of a map value. User space sets the burst threshold; this program
        // removes it.
        unsafe {
            let threshold = &raw mut (*self.counters).burst_threshold;
            if (&raw const (*self.counters).started).read_volatile() >= threshold.read_volatile() {
                threshold.write_volatile(NO_BURST_THRESHOLD);
                // If the ring buffer is full, user space has been woken already.
                let _ = WAKES.output((*self.counters).slot, 0);
            }
        }
    }

    /// Returns the pod's sums over the starts of requests.
    #[inline(always)]
    fn starts(&mut self) -> *mut Sums {
        // SAFETY: the pointer is to a field of a map value. The callers use it only for `add`.
        unsafe { &raw mut (*self.counters).starts }
    }

    /// Returns the pod's sums over the ends of requests.
    #[inline(always)]
    fn ends(&mut self) -> *mut Sums {
        // SAFETY: the pointer is to a field of a map value. The callers use it only for `add`.
        unsafe { &raw mut (*self.counters).ends }
    }

    /// Adds `count` request ends to the counters. `count` must be 0, or no multiple of 1 024: a multiple would not
    /// change the lowest 10 bits of `area`, and readers would miss the change.
    #[inline(always)]
    fn add_ends(&mut self, way: usize, count: u64, now: u64) {
        let way = masked::<{ WAYS - 1 }>(way);
        // SAFETY: the pointer is to a counter of a map value; the mask keeps the index within the array.
        add(
            unsafe { (&raw mut (*self.counters).ended).cast::<u64>().add(way) },
            count,
        );
        // SAFETY: the pointer is to a counter of a map value.
        add(
            unsafe { &raw mut (*self.ends()).area },
            Sums::ends(count, now),
        );
    }
}

impl<const OVERFLOW: bool> Meter for Pod<OVERFLOW> {
    const HAS_OVERFLOW: bool = OVERFLOW;

    #[inline(always)]
    fn claim_overflow(&self, slot: u32) -> Option<OverflowClaim> {
        if !OVERFLOW {
            return None;
        }
        let mut tables = OverflowTables::default();
        for index in 0..OVERFLOW_TABLES {
            let owner = OVERFLOW_OWNERS.get_ptr_mut(index)?;
            // SAFETY: the pointer is to a field of a map value.
            let other = unsafe { (&raw const (*owner).slot).read_volatile() };
            tables.count(other, slot);
        }
        if !tables.has_room() {
            return None;
        }
        for index in 0..OVERFLOW_TABLES {
            let owner = OVERFLOW_OWNERS.get_ptr_mut(index)?;
            // SAFETY: the pointer is to a map value, and the lock guards its fields.
            let owner = unsafe { &mut *owner };
            let lock = &raw mut owner.lock;
            let is_claimed = self.locked(lock, || {
                let is_free = owner.slot == NO_SLOT;
                if is_free {
                    owner.slot = slot;
                    owner.generation = owner.generation.wrapping_add(1);
                }
                is_free
            });
            if is_claimed {
                return Some(OverflowClaim {
                    index,
                    generation: owner.generation,
                });
            }
        }
        None
    }

    #[inline(always)]
    fn overflow(&self, index: u32) -> Option<NonNull<OverflowTable>> {
        if !OVERFLOW {
            return None;
        }
        NonNull::new(OVERFLOW_TABLE.get_ptr_mut(index)?)
    }

    #[inline(always)]
    fn release_overflow(&self, index: u32) {
        if let Some(owner) = OVERFLOW_OWNERS.get_ptr_mut(index) {
            // SAFETY: the pointer is to a field of a map value.
            unsafe { (&raw mut (*owner).slot).write_volatile(NO_SLOT) };
        }
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        if let Some(stamp) = self.stamp {
            // SAFETY: the pointer is to socket storage, which is valid while the program runs.
            let stamp = unsafe { stamp.read_volatile() };
            if stamp != 0 {
                return stamp;
            }
        }
        // SAFETY: the helper takes no arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn start(&mut self, count: u64, now: u64) {
        // SAFETY: the pointer is to a counter of a map value.
        add(unsafe { &raw mut (*self.counters).started }, count);
        // SAFETY: the pointer is to a counter of a map value.
        add(
            unsafe { &raw mut (*self.starts()).area },
            Sums::starts(count, now),
        );
        self.wake();
    }

    #[inline(always)]
    fn end(&mut self, way: usize, count: u64, now: u64) {
        // Adding a multiple of 1 024 ends at once would not change the lowest 10 bits of `area`, so a reader would not
        // notice the change (see `PodCounters`). So one of the ends is added separately.
        let apart = u64::from(count != 0 && count & ADDED == 0);
        if apart != 0 {
            self.add_ends(way, apart, now);
        }
        self.add_ends(way, count - apart, now);
    }

    #[inline(always)]
    fn latency(&mut self, bucket: usize) {
        let index = masked::<{ BUCKETS - 1 }>(bucket);
        // SAFETY: the pointer is to a counter of a map value; the mask keeps the index within the array.
        add(
            unsafe { (&raw mut (*self.counters).latency).cast::<u64>().add(index) },
            1,
        );
    }

    #[inline(always)]
    fn gauge(&mut self, gauge: Gauge, by: u64) {
        // SAFETY: all pointers are to counters of a map value.
        let counter = unsafe {
            match gauge {
                Gauge::Http2 if by == 1 => &raw mut (*self.starts()).http2,
                Gauge::Http2 => &raw mut (*self.ends()).http2,
                Gauge::Upgraded => &raw mut (*self.counters).upgraded,
                Gauge::Opaque => &raw mut (*self.counters).opaque,
            }
        };
        add(counter, by);
    }

    #[inline(always)]
    fn note(&mut self, event: usize) {
        if let Some(counter) = EVENTS.get_ptr_mut(event as u32) {
            // SAFETY: the pointer is to a counter of a map value.
            add(unsafe { &raw mut (*counter).count }, 1);
        }
    }

    #[inline(always)]
    fn add(&self, field: *mut u32, by: u32) {
        // Callers need a full memory barrier. On x86 every atomic add is a full barrier, even a relaxed one. SAFETY:
        // the pointer is to a field of a map value.
        unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(field, by) };
    }

    #[inline(always)]
    fn lock(&self, lock: *mut Lock) {
        // SAFETY: the lock is part of a map value; the verifier checks that it is released.
        unsafe { bpf_spin_lock(lock.cast()) };
    }

    #[inline(always)]
    fn unlock(&self, lock: *mut Lock) {
        // SAFETY: the verifier checks that the lock has been taken.
        unsafe { bpf_spin_unlock(lock.cast()) };
    }
}
