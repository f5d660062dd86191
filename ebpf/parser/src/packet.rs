//! The environment of the parsers: a source of bytes, and the counters.
//!
//! In the kernel, the source is a packet, and the counters are those of a pod. In a test, the source is a slice, and
//! the counters are in a ledger.

use core::ptr::NonNull;

use ebb_abi::Exclusion;

use crate::{
    conn::Lock,
    http2::{OverflowClaim, OverflowTable},
    window::Window,
};

/// The bytes of one packet, and the rules of its pod.
pub trait Packet {
    /// Copies `length` bytes at `offset` of the packet to byte `at` of the window. Returns `false` if the bytes cannot
    /// be copied.
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool;

    /// Returns whether the path is excluded.
    fn excludes(&self, path: &Exclusion) -> bool;

    /// Returns whether the pod excludes any path, so that the path of a request line has to be extracted.
    fn has_exclusions(&self) -> bool;
}

/// Gauges of the requests in flight, one for each protocol. HTTP/1 has no gauge: its requests in flight are those that
/// are in no gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// A stream of HTTP/2.
    Http2,
    /// A connection after 101, or after CONNECT was granted.
    Upgraded,
    /// A connection that cannot be read.
    Opaque,
}

/// Counts the starts and ends of requests.
pub trait Meter {
    /// Whether a program with this meter has the code for overflow tables. Without it, the program leaves connections
    /// with an overflow table to other programs, and all the other methods for overflow tables find none, except
    /// [`Self::release_overflow`].
    const HAS_OVERFLOW: bool;
    /// Claims a free overflow table for a connection of the pod `slot`. Returns `None` if no table is free, or if the pod
    /// has used its share of the tables.
    fn claim_overflow(&self, slot: u32) -> Option<OverflowClaim>;
    /// Returns the overflow table with the number `index`.
    fn overflow(&self, index: u32) -> Option<NonNull<OverflowTable>>;
    /// Frees a claimed overflow table.
    fn release_overflow(&self, index: u32);
    /// Returns the time: `CLOCK_MONOTONIC` in nanoseconds.
    fn now(&self) -> u64;
    /// Counts that `count` requests start at the time `now`, ns.
    fn start(&mut self, count: u64, now: u64);
    /// Counts that `count` requests end at the time `now`, ns. `way` is one of [`ebb_abi::ended`].
    fn end(&mut self, way: usize, count: u64, now: u64);
    /// Counts the duration of one ended request in a bucket of [`ebb_abi::latency`].
    fn latency(&mut self, bucket: usize);
    /// Adds `by` to a gauge, wrapping: a negative number is given as its two's complement.
    fn gauge(&mut self, gauge: Gauge, by: u64);
    /// Counts a rare event, one of [`ebb_abi::event`].
    fn note(&mut self, event: usize);
    /// Adds to a field of a connection that other CPUs change, too. The addition is a full barrier. If two CPUs each
    /// write, pass this barrier, and then read the field that the other CPU has written, at least one of them sees the
    /// other's write.
    fn add(&self, field: *mut u32, by: u32);
    /// Takes a lock. What follows up to [`Self::unlock`] must be short, and call no function: the lock is a
    /// `bpf_spin_lock` in the kernel, which forbids helper calls.
    fn lock(&self, lock: *mut Lock);
    /// Releases a lock.
    fn unlock(&self, lock: *mut Lock);
    /// Runs `change` while no other CPU changes the data that `lock` guards. Only for a small `change`: the compiler
    /// may make a function of a closure, and a call can cost more than the closure's work.
    #[inline(always)]
    fn locked<R>(&self, lock: *mut Lock, change: impl FnOnce() -> R) -> R {
        self.lock(lock);
        let result = change();
        self.unlock(lock);
        result
    }
}

/// Returns the time from `since` to `now`, ns, or 0 if `now` is earlier: the two times may come from different sources
/// (a packet's stamp, the kernel's clock).
#[inline(always)]
pub(crate) fn between(since: u64, now: u64) -> u64 {
    let passed = now.wrapping_sub(since);
    passed & !((passed as i64 >> 63) as u64)
}
