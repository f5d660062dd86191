//! The ABI between Ebb's kernel programs and user space: the values of the maps that both use, their limits, and the slots for
//! tail calls.
//!
//! Bias: pinned maps of another layout are replaced, not reused. So a change to any layout here needs a new [`LAYOUT`]. A change
//! to `Conn` or `Http2` of `ebb-parser` needs one, too. Failure mode: without a new [`LAYOUT`], programs reuse the maps of an
//! older version, and count wrongly.

#![no_std]

pub mod latency;

use crate::latency::BUCKETS;

/// Version of the layouts of all maps.
pub const LAYOUT: u32 = 9;

/// Most pods that one loaded set of programs can count. Kubelet's default limit is 110 pods a node; some clusters run 500.
pub const MAX_PODS: u32 = 1024;

/// Never assigned to a pod: the storage of a cgroup reads 0 until user space has set its slot.
pub const NO_SLOT: u32 = 0;

/// Most ports that `ebb.dev/ports` can name.
pub const MAX_PORTS: usize = 16;

/// Longest excluded path, in bytes. The path, with the method before it, fits in the part of a line that is kept for the next
/// packet (`CARRY` in `ebb-parser`).
pub const MAX_EXCLUDED_PATH: usize = 40;

/// Added to the slot in [`Exclusion::slot`] if the path is in the Huffman code of HTTP/2 (RFC 7541, appendix B). In that code the
/// query cannot be separated from the path: such a key matches only paths without a query.
pub const HUFFMAN: u64 = 1 << 32;

/// Most excluded paths of all pods of a node together.
pub const MAX_EXCLUSIONS: u32 = 8192;

/// How a request ended: the index into [`PodCounters::ended`].
pub mod ended {
    /// Aborted: the connection ended, or the stream was reset, before the response was complete.
    pub const ABORTED: usize = 0;
    /// A probe, or a request to an excluded path: removed from all other figures.
    pub const EXCLUDED: usize = 6;
    /// The end of an opaque connection.
    pub const OPAQUE: usize = 7;
    /// Number of ways. 1 to 5 are the status classes 1xx to 5xx.
    pub const WAYS: usize = 8;
}

/// Rare events that users should know of: the index into the map `EVENTS`.
pub mod event {
    /// The data could not be parsed: the connection is opaque from there on.
    pub const UNREADABLE: usize = 0;
    /// A connection that was open before its cgroup was counted could not be attached mid-stream: the connection is opaque.
    pub const NOT_JOINED: usize = 1;
    /// A segment arrived out of order, or while another CPU was reading, and the out-of-order buffer had no room for it: the
    /// connection is opaque.
    pub const NO_ROOM: usize = 2;
    /// The kernel had no memory for a connection: it is not counted.
    pub const NO_STORAGE: usize = 3;
    /// TCP has accepted bytes that the programs were not shown. What follows these bytes cannot be read: the connection is
    /// opaque.
    pub const MISSED: usize = 4;
    /// A segment arrived out of order, and its pod has used up its share of the out-of-order buffer: the connection is opaque.
    pub const NO_SHARE: usize = 5;
    /// Number of entries: at least the number of kinds, a power of two.
    pub const KINDS: usize = 8;
}

/// How often an event has happened, and when it was last logged.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EventCount {
    /// Number of times that the event has happened.
    pub count: u64,
    /// Time of the last log line: `CLOCK_MONOTONIC`, ns; 0: none yet.
    pub said: u64,
}

/// Mask of the lowest bits of [`Sums::area`]. They say how many starts or ends have been added, modulo 1 024. The bits above are
/// of the time.
pub const ADDED: u64 = (1 << 10) - 1;

/// The sums over all starts of a pod, or over all its ends. The pod's figure is the sum of the two.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// The term `a` of the integral, ns. Each time in it is a multiple of 1 024. The number of starts or ends is added, too: the
    /// bits of [`ADDED`] show exactly that number.
    pub area: u64,
    /// HTTP/2 streams in flight (a gauge, wrapping).
    pub http2: u64,
}

impl Sums {
    const ZERO: Self = Self { area: 0, http2: 0 };

    /// What `count` starts at the time `now` (ns) add to `area`.
    #[inline(always)]
    pub const fn starts(count: u64, now: u64) -> u64 {
        count.wrapping_sub((now & !ADDED).wrapping_mul(count))
    }

    /// What `count` ends at the time `now` (ns) add to `area`.
    #[inline(always)]
    pub const fn ends(count: u64, now: u64) -> u64 {
        count.wrapping_add((now & !ADDED).wrapping_mul(count))
    }
}

/// The counters of one pod. They only grow (wrapping), except `area` and the gauges, and are changed with plain atomic adds.
///
/// `area` is the term `a` of the lock-free integral: a start subtracts its time, an end adds its time. So at any time `t`
/// (`CLOCK_MONOTONIC`, ns) the integral of "in flight" is `n * t + area`, with `n = started - Σ ended`. The lowest bits of each
/// time are dropped, and 1 is added instead: these bits say how many starts or ends have been added, whatever their times were. A
/// start or an end adds to `started` or `ended` first, and to `area` last. A reader reads `area`, then the other counters, then
/// `area` again. If `area` says as many as the other counters, and has not changed, no change is halfway in what was read. (So
/// the number that is added at once is never a multiple of 1 024.)
///
/// A request usually arrives on one CPU and is answered on another one. Each of the two writes to cache lines of its own: a line
/// that both write to moves between them, which costs as much as all the other adds together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PodCounters {
    /// Sums over all starts.
    pub starts: Sums,
    /// Requests started, including excluded and opaque ones.
    pub started: u64,
    /// The burst threshold, set by user space. When `started` reaches it, user space is woken once, and this is set to
    /// [`NO_MARK`].
    pub mark: u64,
    /// The number of this slot, set by user space. The kernel writes it to the ring buffer `WAKES`.
    pub slot: u64,
    /// Upgraded connections in flight (a gauge, wrapping).
    pub upgraded: u64,
    /// Opaque connections in flight (a gauge, wrapping).
    pub opaque: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed.
    pub closed: u64,
    /// Keeps the counters of ends off the cache lines of starts, and off the line that the CPU fetches along with them.
    reserved: [u64; 7],
    /// Sums over all ends.
    pub ends: Sums,
    /// Ends of requests, by [`ended`].
    pub ended: [u64; ended::WAYS],
    /// Pieces that the pod's connections have in the out-of-order buffer (a gauge, wrapping). In slot [`NO_SLOT`]: those of all
    /// pods.
    pub kept: u64,
    /// Keeps the whole a multiple of a cache line.
    reserved_too: [u64; 5],
    /// Requests by the time that they were in flight; see [`crate::latency`].
    pub latency: [u64; BUCKETS],
}

/// No burst threshold: user space is not woken.
pub const NO_MARK: u64 = u64::MAX;

impl PodCounters {
    /// Counters of a pod without traffic.
    pub const ZERO: Self = Self {
        starts: Sums::ZERO,
        started: 0,
        mark: NO_MARK,
        slot: 0,
        upgraded: 0,
        opaque: 0,
        opened: 0,
        closed: 0,
        reserved: [0; 7],
        ends: Sums::ZERO,
        ended: [0; ended::WAYS],
        kept: 0,
        reserved_too: [0; 5],
        latency: [0; BUCKETS],
    };

    /// Number of ended requests, over all ways.
    pub fn ended_in_all(&self) -> u64 {
        self.ended
            .iter()
            .fold(0, |sum: u64, way| sum.wrapping_add(*way))
    }

    /// The term `a` of the integral, ns.
    pub fn area(&self) -> u64 {
        let [starts, ends] = self.times();
        starts.wrapping_add(ends)
    }

    /// Whether every start and end in these figures has been added completely.
    pub fn is_whole(&self) -> bool {
        self.times().iter().all(|time| time & ADDED == 0)
    }

    /// The times in both areas, without the numbers of starts and ends.
    fn times(&self) -> [u64; 2] {
        [
            self.starts.area.wrapping_sub(self.started),
            self.ends.area.wrapping_sub(self.ended_in_all()),
        ]
    }
}

/// The rules by which user space wants a pod to be counted.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PodRules {
    /// Number of `ports` that are set. 0: every port that a socket listens on is counted.
    pub port_count: u32,
    /// 1 if the pod has excluded paths.
    pub has_exclusions: u32,
    /// Serving ports, host byte order.
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

/// Slots of the program array `INGRESS`: what ingress programs call. Each slot has the name of its program.
pub mod ingress {
    /// The rest of a packet that has more steps than one run. Without `bpf_loop`: `http1_ingress`.
    pub const HTTP1_INGRESS_LOOP: u32 = 0;
    /// Data before the connection is established.
    pub const HANDSHAKE_STORE: u32 = 1;
    /// HTTP/2 that begins within a packet.
    pub const HTTP2_INGRESS: u32 = 2;
    /// The rest of a packet that has more steps than one run. Without `bpf_loop`: `http2_ingress`.
    pub const HTTP2_INGRESS_LOOP: u32 = 3;
    /// A segment that cannot be read yet: earlier bytes are missing, or another CPU is reading.
    pub const OUT_OF_ORDER_STORE: u32 = 4;
    /// Reads the out-of-order buffer as far as it can be read. Without `bpf_loop`: `http1_drain`.
    pub const HTTP1_DRAIN_LOOP: u32 = 5;
    /// Reads the out-of-order buffer on HTTP/2. Without `bpf_loop`: `http2_drain`.
    pub const HTTP2_DRAIN_LOOP: u32 = 6;
    /// A connection that was open before its cgroup was counted.
    pub const ATTACH_MID_STREAM: u32 = 7;
    /// Logs a rare event.
    pub const LOG_INGRESS: u32 = 8;
    /// Number of slots.
    pub const PROGRAMS: u32 = 9;
}

/// Slots of the program array `SOCKETS`: what `connections` calls.
pub mod sockets {
    /// Reads the data that arrived before the connection was established. Without `bpf_loop`: `handshake_read`.
    pub const HANDSHAKE_READ_LOOP: u32 = 0;
    /// Logs a rare event.
    pub const LOG_SOCK_OPS: u32 = 1;
    /// Number of slots.
    pub const PROGRAMS: u32 = 2;
}

/// Slots of the program array `EGRESS`: what egress programs call.
pub mod egress {
    /// The rest of a packet that has more steps than one run. Without `bpf_loop`: `http1_egress`.
    pub const HTTP1_EGRESS_LOOP: u32 = 0;
    /// HTTP/2 that begins within a packet.
    pub const HTTP2_EGRESS: u32 = 1;
    /// The rest of a packet that has more steps than one run. Without `bpf_loop`: `http2_egress`.
    pub const HTTP2_EGRESS_LOOP: u32 = 2;
    /// Logs a rare event.
    pub const LOG_EGRESS: u32 = 3;
    /// Number of slots.
    pub const PROGRAMS: u32 = 4;
}

#[cfg(feature = "user")]
mod user {
    // SAFETY: `repr(C)` structures of integers, without padding and valid for every bit pattern.
    unsafe impl aya::Pod for super::PodCounters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::PodRules {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Exclusion {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::EventCount {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a cache line.
    const LINE: usize = 64;

    /// The kernel programs and user space are compiled separately: both rely on this layout.
    #[test]
    fn layout() {
        assert_eq!(size_of::<PodCounters>(), 8 * (32 + BUCKETS));
        assert_eq!(size_of::<PodCounters>() % LINE, 0);
        assert_eq!(core::mem::offset_of!(PodCounters, started), 16);
        // The CPU fetches two lines at a time.
        assert_eq!(core::mem::offset_of!(PodCounters, ends), 2 * LINE);
        assert_eq!(core::mem::offset_of!(PodCounters, latency), 4 * LINE);
        assert_eq!(size_of::<PodRules>(), 40);
        assert_eq!(size_of::<Exclusion>(), 48);
    }

    #[test]
    fn an_area_tells_how_many_are_in_it() {
        let mut cells = PodCounters::ZERO;
        let mut area = 0u64;
        for n in 0..5000u64 {
            let now = n * 1_000_003;
            cells.starts.area = cells.starts.area.wrapping_add(Sums::starts(3, now));
            cells.ends.area = cells.ends.area.wrapping_add(Sums::ends(1, now));
            area = area.wrapping_sub(2 * (now & !ADDED));
            assert!(!cells.is_whole());
            cells.started += 3;
            assert!(!cells.is_whole());
            cells.ended[2] += 1;
            assert!(cells.is_whole());
            assert_eq!(cells.area(), area);
        }
    }
}
