//! What the parsers need of their surroundings: bytes, and somewhere to count.
//!
//! The kernel gives a packet and a pod's counters; a test gives a slice and a ledger.

use crate::{abi::Exclusion, conn::Lock, window::Window};

/// The bytes of one packet, and the rules for it.
pub trait Packet {
    /// Copies `length` bytes from `offset` of the packet to byte `at` of the window. `false` if it cannot.
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool;

    /// Whether this is one of the pods' excluded paths.
    fn excludes(&self, path: &Exclusion) -> bool;

    /// Whether the pod excludes any path, so that there is need to cut one out of a request line.
    fn has_exclusions(&self) -> bool;
}

/// What is in flight, by the protocol that carries it. HTTP/1 is the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// A stream of HTTP/2.
    Http2,
    /// A connection after 101, or after CONNECT was granted.
    Upgraded,
    /// A connection that cannot be read.
    Opaque,
}

/// Where starts and ends are counted.
pub trait Meter {
    /// The time: `CLOCK_MONOTONIC` in nanoseconds.
    fn now(&self) -> u64;
    /// `count` more in flight, since `now`.
    fn start(&mut self, count: u64, now: u64);
    /// `count` less in flight. `way` is one of [`crate::abi::ended`].
    fn end(&mut self, way: usize, count: u64, now: u64);
    /// One more that was in flight for as long as this bucket of [`crate::latency`] says.
    fn latency(&mut self, bucket: usize);
    /// Adds `by` (1 or -1, wrapping) to a gauge.
    fn gauge(&mut self, gauge: Gauge, by: u64);
    /// Something rare has happened, one of [`crate::abi::event`].
    fn note(&mut self, event: usize);
    /// Adds to a cell of a connection that others change, too. Whatever follows sees what they have done before
    /// they could see this.
    fn add(&self, cell: *mut u32, by: u32);
    /// Runs `change` while nobody else changes what `lock` guards.
    ///
    /// `change` is short and calls nothing: in the kernel it runs under a `bpf_spin_lock`, which forbids helper calls.
    fn locked<R>(&self, lock: *mut Lock, change: impl FnOnce() -> R) -> R;
}
