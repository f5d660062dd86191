//! The values of the maps that user space reads and writes, and their limits.
//!
//! A change to any layout here, to [`crate::conn::Conn`] or to [`crate::http2::Http2`], needs a new [`LAYOUT`]: pinned maps of
//! another layout must be replaced, not adopted.

use crate::latency::BUCKETS;

/// Version of every layout in this crate.
pub const LAYOUT: u32 = 9;

/// How many pods one loaded set of programs can count: kubelet's default limit is 110 a node, some
/// run 500.
pub const MAX_PODS: u32 = 1024;

/// Slot 0 is never handed out: a cgroup's storage reads 0 until user space has named its slot.
pub const NO_SLOT: u32 = 0;

/// How many ports `ebb.dev/ports` can name.
pub const MAX_PORTS: usize = 16;

/// Longest excluded path, in bytes. It fits, with the method before it, in what is kept of a line
/// ([`crate::window::CARRY`]).
pub const MAX_EXCLUDED_PATH: usize = 40;

/// Added to the slot in [`Exclusion::slot`] where the path is in the Huffman code of HTTP/2 (RFC 7541,
/// appendix B). A query cannot be told from the path there: such a key matches paths without one.
pub const HUFFMAN: u64 = 1 << 32;

/// How many excluded paths all pods of a node can have together.
pub const MAX_EXCLUSIONS: u32 = 8192;

/// How a request ended: the index into [`PodCounters::ended`].
pub mod ended {
    /// The connection ended first.
    pub const ABORTED: usize = 0;
    /// A probe or an excluded path, taken out of all other figures again.
    pub const EXCLUDED: usize = 6;
    /// The end of an opaque connection.
    pub const OPAQUE: usize = 7;
    /// How many ways there are. 1 to 5 are the status classes 1xx to 5xx.
    pub const WAYS: usize = 8;
}

/// What rarely happens, and should be known when it does: the index into the map `EVENTS`.
pub mod event {
    /// What came could not be understood: the connection is opaque from there.
    pub const UNREADABLE: usize = 0;
    /// A connection that was open before could not be joined: it is opaque.
    pub const NOT_JOINED: usize = 1;
    /// A segment came before its turn, or beside another, and there was no room to put it aside: opaque.
    pub const NO_ROOM: usize = 2;
    /// The kernel had no memory for a connection: it is not counted.
    pub const NO_STORAGE: usize = 3;
    /// TCP has taken bytes that the programs have not been shown: what follows them cannot be read, and the connection is
    /// opaque.
    pub const MISSED: usize = 4;
    /// A segment came out of order, and its pod has its share of the out-of-order buffer: the connection is opaque.
    pub const NO_SHARE: usize = 5;
    /// Room for the kinds there are, a power of two.
    pub const KINDS: usize = 8;
}

/// How often an event has happened, and what has been said about it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct EventCount {
    /// How often.
    pub count: u64,
    /// When it was last said in the log: `CLOCK_MONOTONIC`, ns.
    pub said: u64,
}

/// The lowest bits of [`Sums::area`], which say how many have been added to it; the time is in those above.
pub const ADDED: u64 = (1 << 10) - 1;

/// What starts add up to, or ends: the sum of both is the pod's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// `a` of the integral, ns, each time in it a multiple of 1 024; and how many have been added, in [`ADDED`] exactly.
    pub area: u64,
    /// In flight now that are HTTP/2 streams (a gauge, wrapping).
    pub http2: u64,
}

impl Sums {
    const ZERO: Self = Self { area: 0, http2: 0 };

    /// What `count` starts at a time add to `area`, ns.
    #[inline(always)]
    pub const fn starts(count: u64, now: u64) -> u64 {
        count.wrapping_sub((now & !ADDED).wrapping_mul(count))
    }

    /// What `count` ends at a time add to it.
    #[inline(always)]
    pub const fn ends(count: u64, now: u64) -> u64 {
        count.wrapping_add((now & !ADDED).wrapping_mul(count))
    }
}

/// What the kernel counts for one pod. All cells only grow (wrapping), except `area` and the gauges, and are
/// changed with plain atomic adds.
///
/// `area` is the cell `a` of the lock-free integral: a start subtracts the time, an end adds it, so
/// at any time `t` (`CLOCK_MONOTONIC`, ns) the integral of "in flight" is `n * t + area`, with
/// `n = started - Σ ended`. Of each time the lowest bits are left out, and 1 is added in their place: they say how many
/// there have been, whatever the times were. `started` or `ended` is added to first, `area` last. A reader that has read
/// `area` first and finds as many in it as in the others, and then `area` unchanged, has read no change halfway. (So what
/// is added at once is never a multiple of 1 024.)
///
/// A request arrives on one CPU and is answered on another one, as a rule. Each writes to cache lines of its own, as
/// a line that two write to goes to and fro between them, which costs as much as all the other adds together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PodCounters {
    /// What starts have added.
    pub starts: Sums,
    /// Requests begun, excluded and opaque ones included.
    pub started: u64,
    /// User space's: when `started` gets here it is woken, once, and this set to [`NO_MARK`].
    pub mark: u64,
    /// User space's: which slot this is, as the ring buffer `WAKES` gets it.
    pub slot: u64,
    /// In flight now that are upgraded connections (a gauge, wrapping).
    pub upgraded: u64,
    /// In flight now that are opaque connections (a gauge, wrapping).
    pub opaque: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed.
    pub closed: u64,
    /// Keeps the cells of ends off the lines of starts, and off the one that is fetched along with them.
    reserved: [u64; 7],
    /// What ends have added.
    pub ends: Sums,
    /// Ends of requests, by [`ended`].
    pub ended: [u64; ended::WAYS],
    /// Pieces that connections of the pod have in the out-of-order buffer (a gauge, wrapping). In slot [`NO_SLOT`] those of
    /// all pods.
    pub kept: u64,
    /// Keeps the whole a multiple of a cache line.
    reserved_too: [u64; 5],
    /// Requests by how long they were in flight; see [`crate::latency`].
    pub latency: [u64; BUCKETS],
}

/// Nobody wants to be woken.
pub const NO_MARK: u64 = u64::MAX;

impl PodCounters {
    /// Nothing counted.
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

    /// How many have ended, in all.
    pub fn ended_in_all(&self) -> u64 {
        self.ended
            .iter()
            .fold(0, |sum: u64, way| sum.wrapping_add(*way))
    }

    /// `a` of the integral, ns.
    pub fn area(&self) -> u64 {
        let [starts, ends] = self.times();
        starts.wrapping_add(ends)
    }

    /// Whether no start or end is halfway in these figures.
    pub fn is_whole(&self) -> bool {
        self.times().iter().all(|time| time & ADDED == 0)
    }

    /// The times in both areas, without the numbers of those added.
    fn times(&self) -> [u64; 2] {
        [
            self.starts.area.wrapping_sub(self.started),
            self.ends.area.wrapping_sub(self.ended_in_all()),
        ]
    }
}

/// What user space asks of a pod's counting.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct PodRules {
    /// How many of `ports` are set; 0: every port that listens.
    pub port_count: u32,
    /// 1 where the pod has excluded paths.
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
    /// The same on HTTP/2. Without `bpf_loop`: `http2_drain`.
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
    /// Reads what came before the connection was established. Without `bpf_loop`: `handshake_drain`.
    pub const HANDSHAKE_DRAIN_LOOP: u32 = 0;
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

/// Both ends of a connection, seen from one of them. IPv4 addresses are IPv4-mapped.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Address here, network byte order.
    pub local: [u32; 4],
    /// Address there, network byte order.
    pub remote: [u32; 4],
    /// Port here, host byte order.
    pub local_port: u32,
    /// Port there, host byte order.
    pub remote_port: u32,
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

    /// The kernel and user space are compiled apart: the layout is what they agree on.
    #[test]
    fn layout() {
        assert_eq!(size_of::<PodCounters>(), 8 * (32 + BUCKETS));
        assert_eq!(size_of::<PodCounters>() % LINE, 0);
        assert_eq!(core::mem::offset_of!(PodCounters, started), 16);
        // Two lines are fetched at a time.
        assert_eq!(core::mem::offset_of!(PodCounters, ends), 2 * LINE);
        assert_eq!(core::mem::offset_of!(PodCounters, latency), 4 * LINE);
        assert_eq!(size_of::<PodRules>(), 40);
        assert_eq!(size_of::<Exclusion>(), 48);
        assert_eq!(size_of::<Ends>(), 40);
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
