//! The ABI between Ebb's kernel programs and user space: the values of the maps that both use, their limits, and the
//! slots for tail calls.
//!
//! Bias: pinned maps of another layout are replaced, not reused. So a change to any layout here needs a new [`LAYOUT`].
//! A change to `Conn` or `Http2` of `ebb-parser` needs a new [`LAYOUT`], too. Failure mode: without a new [`LAYOUT`],
//! programs reuse the maps of an older version, and count wrongly.

#![no_std]

pub mod latency;

use crate::latency::BUCKETS;

/// Version of the layouts of all maps.
pub const LAYOUT: u32 = 12;

/// Maximum number of pods that one loaded set of programs can count. Kubelet's default limit is 110 pods per node; some
/// clusters allow 500.
pub const MAX_PODS: u32 = 1024;

/// The slot that is never assigned to a pod: the storage of a cgroup reads 0 until user space has set the cgroup's
/// slot.
pub const NO_SLOT: u32 = 0;

/// The kernel's `struct bpf_spin_lock`, which the kernel finds by this name in the BTF.
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name of the kernel's type")]
#[derive(Clone, Copy, Debug, Default)]
pub struct bpf_spin_lock {
    /// Used by the kernel only.
    pub val: u32,
}

/// Number of overflow tables of a node: the number of HTTP/2 connections that can have more streams in flight than fit
/// in their own tables. Each table takes 256 KiB.
pub const OVERFLOW_TABLES: u32 = 32;

/// The owner of an overflow table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct OverflowOwner {
    /// Guards `slot` and `generation`.
    pub lock: bpf_spin_lock,
    /// Slot of the pod whose connection uses the table; [`NO_SLOT`]: the table is free.
    pub slot: u32,
    /// Number of claims so far: entries of earlier claims are not valid.
    pub generation: u32,
}

/// Maximum number of ports that `ebb.dev/ports` can name.
pub const MAX_PORTS: usize = 16;

/// Maximum length of an excluded path, in bytes. The method and the path together fit in the part of a line that a
/// parser keeps for the next packet (`CARRY` in `ebb-parser`).
pub const MAX_EXCLUDED_PATH: usize = 40;

/// Added to [`Exclusion::slot`] if the path is in the Huffman code of HTTP/2 (RFC 7541, appendix B). The query cannot
/// be separated from a Huffman-coded path, so the key matches only requests without a query.
pub const HUFFMAN: u64 = 1 << 32;

/// Maximum number of excluded paths of all pods of a node together.
pub const MAX_EXCLUSIONS: u32 = 8192;

/// Ways in which a request ends: indexes into [`PodCounters::ended`].
pub mod ended {
    /// Aborted: the connection ended, or the stream was reset, before the response was complete.
    pub const ABORTED: usize = 0;
    /// A probe, or a request to an excluded path: removed from all other counts.
    pub const EXCLUDED: usize = 6;
    /// An opaque connection has closed. It had counted as one request in flight.
    pub const OPAQUE: usize = 7;
    /// Number of ways in which a request ends. The ways 1 to 5 are the status classes 1xx to 5xx.
    pub const WAYS: usize = 8;
}

/// Rare events that users should know of: indexes into the map `EVENTS`.
pub mod event {
    /// The data could not be parsed: the connection is opaque from this data on.
    pub const UNREADABLE: usize = 0;
    /// A connection that was open before its cgroup was counted could not be attached mid-stream: the connection is
    /// opaque.
    pub const ATTACH_FAILED: usize = 1;
    /// A segment arrived out of order, or while another CPU was reading the connection, and the out-of-order buffer had
    /// no room for the segment: the connection is opaque.
    pub const OUT_OF_ORDER_FULL: usize = 2;
    /// The kernel had no memory for the state of a connection: the connection is not counted.
    pub const NO_MEMORY: usize = 3;
    /// TCP has accepted bytes that the programs never saw. The bytes after this gap cannot be read: the connection is
    /// opaque.
    pub const BYTES_MISSED: usize = 4;
    /// A segment arrived out of order, and its pod has used up its share of the out-of-order buffer: the connection is
    /// opaque.
    pub const OUT_OF_ORDER_SHARE_FULL: usize = 5;
    /// A request was recognised on an opaque connection: the connection is counted by requests again.
    pub const RESUMED: usize = 6;
    /// The connection uses MPTCP: the bytes of a request can be split between several subflows, so the connection is
    /// opaque.
    pub const MPTCP: usize = 7;
    /// Number of entries of the map `EVENTS`: a power of two, at least the number of kinds of events.
    pub const KINDS: usize = 8;
}

/// Count of an event, and the time of its last log line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EventCount {
    /// Number of times that the event has happened.
    pub count: u64,
    /// Time of the last log line: `CLOCK_MONOTONIC`, ns. 0: the event has not been logged yet.
    pub logged_at: u64,
}

/// Mask of the lowest 10 bits of [`Sums::area`]: the number of starts or ends that have been added, modulo 1 024. The
/// bits above them hold the sum of the times.
pub const ADDED: u64 = (1 << 10) - 1;

/// Sums over the starts of all requests of a pod, or over their ends. The total for the pod is the sum of the two.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// Sum of the end times, or negative sum of the start times, ns: a term of the integral of requests in flight over
    /// time (see [`PodCounters`]). Each time in the sum is a multiple of 1 024, so the bits of [`ADDED`] hold exactly
    /// the number of starts or ends that have been added (modulo 1 024).
    pub area: u64,
    /// What the starts or the ends add to the number of HTTP/2 streams in flight (a gauge, wrapping).
    pub http2: u64,
}

impl Sums {
    const ZERO: Self = Self { area: 0, http2: 0 };

    /// Returns what must be added to `area` when `count` requests start at the time `now` (ns).
    #[inline(always)]
    pub const fn starts(count: u64, now: u64) -> u64 {
        count.wrapping_sub((now & !ADDED).wrapping_mul(count))
    }

    /// Returns what must be added to `area` when `count` requests end at the time `now` (ns).
    #[inline(always)]
    pub const fn ends(count: u64, now: u64) -> u64 {
        count.wrapping_add((now & !ADDED).wrapping_mul(count))
    }
}

/// The counters of one pod. All counters are changed with plain atomic adds. All except `area` and the gauges only grow
/// (wrapping).
///
/// `area` is a term of the integral of requests in flight over time, which needs no lock: the start of a request
/// subtracts its time from `area`, and the end of a request adds its time. At any time `t` (`CLOCK_MONOTONIC`, ns) the
/// integral is `n * t + area`, where `n = started - Σ ended` is the number of requests in flight. The lowest 10 bits of
/// each time are cleared, and each start or end adds 1 to the sum, so the lowest 10 bits of the sum count the starts or
/// ends. A start or an end changes `started` or `ended` first, and `area` last. A reader reads `area`, then the other
/// counters, then `area` again. If both values of `area` are equal, and their lowest bits match the other counters, the
/// reader has not read a half-made change. (For this check, the number of starts or ends in one add must not be a
/// multiple of 1 024.)
///
/// A request usually arrives on one CPU and is answered on another one. The two CPUs write to separate cache lines: a
/// line that both write moves between them, which costs as much as all the other adds together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PodCounters {
    /// Sums over the starts of all requests of the pod.
    pub starts: Sums,
    /// Number of starts, including those of excluded requests and of opaque connections.
    pub started: u64,
    /// The burst threshold, set by user space. When `started` reaches the threshold, the kernel wakes user space once,
    /// and sets this field to [`NO_BURST_THRESHOLD`].
    pub burst_threshold: u64,
    /// The number of this slot, set by user space. The kernel writes this number to the ring buffer `WAKES`.
    pub slot: u64,
    /// Upgraded connections in flight (a gauge, wrapping).
    pub upgraded: u64,
    /// Opaque connections in flight (a gauge, wrapping).
    pub opaque: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed.
    pub closed: u64,
    /// Padding: the CPU fetches cache lines in pairs, and the counters of starts and of ends must not be in the same
    /// pair.
    reserved: [u64; 7],
    /// Sums over the ends of all requests of the pod.
    pub ends: Sums,
    /// Number of ended requests, by the way in which they ended ([`ended`]).
    pub ended: [u64; ended::WAYS],
    /// Number of pieces that the pod's connections hold in the out-of-order buffer (a gauge, wrapping). In slot
    /// [`NO_SLOT`]: the number of pieces of all pods.
    pub pieces: u64,
    /// Padding: makes the size of the structure a multiple of a cache line.
    reserved_too: [u64; 5],
    /// Number of requests by their duration (the time in flight), in the buckets of [`crate::latency`].
    pub latency: [u64; BUCKETS],
}

/// No burst threshold: user space is not woken.
pub const NO_BURST_THRESHOLD: u64 = u64::MAX;

impl PodCounters {
    /// Counters of a pod without traffic.
    pub const ZERO: Self = Self {
        starts: Sums::ZERO,
        started: 0,
        burst_threshold: NO_BURST_THRESHOLD,
        slot: 0,
        upgraded: 0,
        opaque: 0,
        opened: 0,
        closed: 0,
        reserved: [0; 7],
        ends: Sums::ZERO,
        ended: [0; ended::WAYS],
        pieces: 0,
        reserved_too: [0; 5],
        latency: [0; BUCKETS],
    };

    /// Returns the number of ended requests, over all ways of ending.
    pub fn ended_in_all(&self) -> u64 {
        self.ended
            .iter()
            .fold(0, |sum: u64, way| sum.wrapping_add(*way))
    }

    /// Returns the term `area` of the integral of requests in flight over time, ns (see [`PodCounters`]).
    pub fn area(&self) -> u64 {
        let [starts, ends] = self.times();
        starts.wrapping_add(ends)
    }

    /// Returns whether these counters were read without a change halfway: every start and every end has been added
    /// completely.
    pub fn is_whole(&self) -> bool {
        self.times().iter().all(|time| time & ADDED == 0)
    }

    /// Returns the sums of times in `starts.area` and in `ends.area`. The two fields also contain the numbers of starts
    /// and ends, which are subtracted here.
    fn times(&self) -> [u64; 2] {
        [
            self.starts.area.wrapping_sub(self.started),
            self.ends.area.wrapping_sub(self.ended_in_all()),
        ]
    }
}

/// Clients whose connections are counted: the values of `PodRules::clients`.
pub mod clients {
    /// Clients outside the pod.
    pub const OUTSIDE: u32 = 0;
    /// All clients.
    pub const ALL: u32 = 1;
    /// Clients inside the pod.
    pub const INSIDE: u32 = 2;
}

/// The rules for counting the connections of a pod, set by user space.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PodRules {
    /// Number of `ports` that are set. If this is 0, connections to every port on which a socket of the pod listens are
    /// counted.
    pub port_count: u32,
    /// 1 if the pod has excluded paths.
    pub has_exclusions: u32,
    /// Whose connections are counted: one of [`clients`].
    pub clients: u32,
    /// The ports on which the pod serves requests, host byte order.
    pub ports: [u16; MAX_PORTS],
}

/// Key of an excluded path.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The pod's slot; 64 bits, so that the key has no padding.
    pub slot: u64,
    /// The path without query, zero-filled.
    pub path: [u64; MAX_EXCLUDED_PATH / 8],
}

/// Slots of the program array `INGRESS`, which ingress programs call. Each slot has the name of its program.
pub mod ingress {
    /// Reads the rest of a packet that needs more parser steps than one run of a program takes, or code for unusual
    /// messages. On a kernel without `bpf_loop`, this slot holds the program `http1_ingress_rest`.
    pub const HTTP1_INGRESS_LOOP: u32 = 0;
    /// Stores data that arrives before the connection is established.
    pub const HANDSHAKE_STORE: u32 = 1;
    /// Reads the rest of a packet in which the connection changes to HTTP/2, or which needs more parser steps than one
    /// run of a program takes. On a kernel without `bpf_loop`, this slot holds the program `http2_ingress`.
    pub const HTTP2_INGRESS_LOOP: u32 = 2;
    /// Stores a segment that cannot be read yet: earlier bytes are missing, or another CPU is reading the connection.
    pub const OUT_OF_ORDER_STORE: u32 = 3;
    /// Reads the out-of-order buffer up to the first missing byte. On a kernel without `bpf_loop`, this slot holds the
    /// program `http1_drain`.
    pub const HTTP1_DRAIN_LOOP: u32 = 4;
    /// Reads the out-of-order buffer of an HTTP/2 connection up to the first missing byte. On a kernel without
    /// `bpf_loop`, this slot holds the program `http2_drain`.
    pub const HTTP2_DRAIN_LOOP: u32 = 5;
    /// Attaches mid-stream to a connection that was open before its cgroup was counted.
    pub const ATTACH_MID_STREAM: u32 = 6;
    /// Logs a rare event.
    pub const LOG_INGRESS: u32 = 7;
    /// Reads a packet of a connection that has an overflow table, or needs one. This slot holds the program
    /// `http2_ingress_loop`, and on a kernel without `bpf_loop` the program `http2_ingress_overflow`.
    pub const HTTP2_INGRESS_OVERFLOW: u32 = 8;
    /// Number of slots.
    pub const PROGRAMS: u32 = 9;
}

/// Slots of the program array `SOCKETS`, which `connections` calls.
pub mod sockets {
    /// Reads the data that arrived before the connection was established. On a kernel without `bpf_loop`, this slot
    /// holds the program `handshake_read`.
    pub const HANDSHAKE_READ_LOOP: u32 = 0;
    /// Logs a rare event.
    pub const LOG_SOCK_OPS: u32 = 1;
    /// Number of slots.
    pub const PROGRAMS: u32 = 2;
}

/// Slots of the program array `EGRESS`, which egress programs call.
pub mod egress {
    /// Reads the rest of a packet that needs more parser steps than one run of a program takes, or code for unusual
    /// messages. On a kernel without `bpf_loop`, this slot holds the program `http1_egress_rest`.
    pub const HTTP1_EGRESS_LOOP: u32 = 0;
    /// Reads the rest of a packet in which the connection changes to HTTP/2, or which needs more parser steps than one
    /// run of a program takes. On a kernel without `bpf_loop`, this slot holds the program `http2_egress`.
    pub const HTTP2_EGRESS_LOOP: u32 = 1;
    /// Logs a rare event.
    pub const LOG_EGRESS: u32 = 2;
    /// Ends the streams that the server has refused with GOAWAY. On a kernel without `bpf_loop`, this slot holds the
    /// program `http2_goaway`.
    pub const HTTP2_GOAWAY_LOOP: u32 = 3;
    /// Reads a packet of a connection that has an overflow table. This slot holds the program `http2_egress_loop`, and
    /// on a kernel without `bpf_loop` the program `http2_egress_overflow`.
    pub const HTTP2_EGRESS_OVERFLOW: u32 = 4;
    /// Looks for HTTP/2 in the server's data, on a connection that was open before its cgroup was counted.
    pub const ATTACH_RESPONSES: u32 = 5;
    /// Number of slots.
    pub const PROGRAMS: u32 = 6;
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: a `repr(C)` structure of integers, without padding and valid for every bit pattern.
    unsafe impl aya::Pod for super::PodCounters {}
    // SAFETY: a `repr(C)` structure of integers, without padding and valid for every bit pattern.
    unsafe impl aya::Pod for super::PodRules {}
    // SAFETY: a `repr(C)` structure of integers, without padding and valid for every bit pattern.
    unsafe impl aya::Pod for super::Exclusion {}
    // SAFETY: a `repr(C)` structure of integers, without padding and valid for every bit pattern.
    unsafe impl aya::Pod for super::EventCount {}
    // SAFETY: a `repr(C)` structure of integers, without padding and valid for every bit pattern.
    unsafe impl aya::Pod for super::OverflowOwner {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size of a cache line, in bytes.
    const LINE: usize = 64;

    /// The kernel programs and user space are compiled separately: both rely on this layout.
    #[test]
    fn layout() {
        assert_eq!(size_of::<PodCounters>(), 8 * (32 + BUCKETS));
        assert_eq!(size_of::<PodCounters>() % LINE, 0);
        assert_eq!(core::mem::offset_of!(PodCounters, started), 16);
        // The CPU fetches cache lines in pairs: `ends` must not be in the pair that holds the counters of starts.
        assert_eq!(core::mem::offset_of!(PodCounters, ends), 2 * LINE);
        assert_eq!(core::mem::offset_of!(PodCounters, latency), 4 * LINE);
        assert_eq!(size_of::<PodRules>(), 44);
        assert_eq!(size_of::<Exclusion>(), 48);
    }

    #[test]
    fn an_area_tells_how_many_are_in_it() {
        let mut counters = PodCounters::ZERO;
        let mut area = 0u64;
        for n in 0..5000u64 {
            let now = n * 1_000_003;
            counters.starts.area = counters.starts.area.wrapping_add(Sums::starts(3, now));
            counters.ends.area = counters.ends.area.wrapping_add(Sums::ends(1, now));
            area = area.wrapping_sub(2 * (now & !ADDED));
            assert!(!counters.is_whole());
            counters.started += 3;
            assert!(!counters.is_whole());
            counters.ended[2] += 1;
            assert!(counters.is_whole());
            assert_eq!(counters.area(), area);
        }
    }
}
