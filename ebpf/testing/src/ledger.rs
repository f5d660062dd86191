//! A pod's counters as plain numbers, with a clock that the test sets.
//!
//! The ledger checks each change: the number of requests in flight and the integral must not be negative, the sum of
//! the gauges must not be above the number in flight, and no start or end may be before the origin of the clock or in
//! the future.

use std::{
    cell::{Cell, OnceCell},
    fmt,
    ptr::NonNull,
};

use ebb_abi::{ended, event, latency::BUCKETS};
use ebb_parser::{
    conn::Lock,
    http2::{OverflowClaim, OverflowTable},
    packet::{Gauge, Meter},
};

/// The counters of `abi::PodCounters` that traffic changes.
#[derive(Clone, PartialEq, Eq)]
pub struct Figures {
    /// Number of requests started.
    pub started: u64,
    /// Number of requests ended, by the way in which they ended ([`ended`]).
    pub ended: [u64; ended::WAYS],
    /// The term `area` of the integral of requests in flight over time (see `PodCounters`), ns, wrapping.
    pub area: u64,
    /// Gauge of HTTP/2 streams.
    pub http2: u64,
    /// Gauge of upgraded connections.
    pub upgraded: u64,
    /// Gauge of opaque connections.
    pub opaque: u64,
    /// The latency histogram.
    pub latency: [u64; BUCKETS],
    /// Number of times that counting has resumed on an opaque connection. In the kernel, this is not a counter of a pod.
    pub resumed: u64,
}

impl Figures {
    /// The counters of a pod without traffic.
    pub const NOTHING: Self = Self {
        started: 0,
        ended: [0; ended::WAYS],
        area: 0,
        http2: 0,
        upgraded: 0,
        opaque: 0,
        latency: [0; BUCKETS],
        resumed: 0,
    };

    /// Returns the number of requests in flight, computed as in `ebb_agent::Reading`. There the number is unsigned, so
    /// a negative number would appear as a huge, wrapped number.
    pub fn in_flight(&self) -> i64 {
        self.ended
            .iter()
            .fold(self.started, |left, ended| left.wrapping_sub(*ended)) as i64
    }

    /// Returns the gauges, in the order HTTP/2, upgraded, opaque.
    pub fn gauges(&self) -> [u64; 3] {
        [self.http2, self.upgraded, self.opaque]
    }

    /// Returns the integral of requests in flight over time, from the first start up to the time `now`, ns, computed as
    /// in `ebb_agent::Reading`.
    pub fn integral(&self, now: u64) -> i64 {
        (self.in_flight() as u64)
            .wrapping_mul(now)
            .wrapping_add(self.area) as i64
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latencies = self
            .latency
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        formatter
            .debug_struct("Figures")
            .field("started", &self.started)
            .field("ended", &self.ended)
            .field("area", &(self.area as i64))
            .field("gauges", &self.gauges())
            .field("latency", &latencies.collect::<Vec<_>>())
            .finish()
    }
}

/// A meter that keeps the counters of one connection.
#[derive(Debug)]
pub struct Ledger {
    clock: u64,
    /// Time at which counting began, ns. No request started before this time.
    origin: u64,
    figures: Figures,
    locked: Cell<bool>,
    /// The only overflow table. It is created when it is claimed for the first time, because it is large.
    overflow: OnceCell<NonNull<OverflowTable>>,
    /// Number of claims to the overflow table so far.
    claims: Cell<u32>,
    /// Whether a connection has the overflow table now.
    is_claimed: Cell<bool>,
    /// Counts of rare events, by [`event`].
    pub events: [u64; event::KINDS],
}

impl Ledger {
    /// The time at which the clock starts, ns. It is as late as possible, so that many tests include wrapping: the sum
    /// of sixteen such times wraps. The limit is reached 1 000 s later, because the note of an HTTP/2 stream has 60
    /// bits for the start time.
    const ORIGIN: u64 = (1 << 60) - 1_000_000_000_000;

    /// Returns a ledger without traffic, with its clock at [`Self::ORIGIN`].
    pub fn new() -> Self {
        Self {
            clock: Self::ORIGIN,
            origin: Self::ORIGIN,
            figures: Figures::NOTHING,
            locked: Cell::new(false),
            overflow: OnceCell::new(),
            claims: Cell::new(0),
            is_claimed: Cell::new(false),
            events: [0; event::KINDS],
        }
    }

    /// Returns the counters.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Returns the time of the clock, ns.
    pub fn time(&self) -> u64 {
        self.clock
    }

    /// Returns the time since counting began, ns.
    pub fn elapsed(&self) -> u64 {
        self.clock.wrapping_sub(self.origin)
    }

    /// Lets time pass: moves the clock forward.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.clock = self.clock.wrapping_add(nanoseconds);
    }

    /// Returns the integral of requests in flight over time up to the time of the clock, ns.
    pub fn integral(&self) -> i64 {
        self.figures.integral(self.clock)
    }

    fn check(&self) {
        assert!(
            !self.locked.get(),
            "a count changed under the lock: the kernel forbids helper calls there"
        );
        let figures = &self.figures;
        let in_flight = figures.in_flight();
        assert!(in_flight >= 0, "{in_flight} in flight: {figures:?}");
        let special = figures.gauges().into_iter().fold(0, u64::saturating_add);
        assert!(
            special <= in_flight as u64,
            "the gauges exceed the {in_flight} requests in flight: {figures:?}"
        );
        // A connection can be opaque on both protocols: the server has granted an upgrade to HTTP/2, the client does
        // not use it, and the server sends bytes that cannot be parsed.
        assert!(
            figures.upgraded <= 1 && figures.opaque <= 2,
            "one connection counts as several in a gauge: {figures:?}"
        );
        assert!(
            self.integral() >= 0,
            "integral {}: {figures:?}",
            self.integral()
        );
    }

    fn check_time(&self, at: u64) {
        assert!(
            at.wrapping_sub(self.origin) <= self.elapsed(),
            "the time {at} is not between the clock's origin and now"
        );
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Some(table) = self.overflow.take() {
            // SAFETY: the pointer comes from `Box::leak`, and the table is used by this ledger's connection only.
            drop(unsafe { Box::from_raw(table.as_ptr()) });
        }
    }
}

impl Meter for Ledger {
    const HAS_OVERFLOW: bool = true;

    fn claim_overflow(&self, _slot: u32) -> Option<OverflowClaim> {
        if self.is_claimed.replace(true) {
            return None;
        }
        self.claims.set(self.claims.get() + 1);
        Some(OverflowClaim {
            index: 0,
            generation: self.claims.get(),
        })
    }

    fn overflow(&self, index: u32) -> Option<NonNull<OverflowTable>> {
        assert_eq!(index, 0, "the ledger has one overflow table");
        Some(*self.overflow.get_or_init(|| {
            // SAFETY: the table is made of integers, for which zero is a valid value.
            let table = unsafe { Box::<OverflowTable>::new_zeroed().assume_init() };
            NonNull::from(Box::leak(table))
        }))
    }

    fn release_overflow(&self, index: u32) {
        assert_eq!(index, 0, "the ledger has one overflow table");
        assert!(self.is_claimed.replace(false), "the table is free already");
    }

    fn now(&self) -> u64 {
        self.clock
    }

    fn start(&mut self, count: u64, now: u64) {
        self.check_time(now);
        self.figures.started += count;
        self.figures.area = self.figures.area.wrapping_sub(now.wrapping_mul(count));
        self.check();
    }

    fn end(&mut self, way: usize, count: u64, now: u64) {
        self.check_time(now);
        self.figures.ended[way] += count;
        self.figures.area = self.figures.area.wrapping_add(now.wrapping_mul(count));
        self.check();
    }

    fn latency(&mut self, bucket: usize) {
        self.figures.latency[bucket] += 1;
    }

    fn gauge(&mut self, gauge: Gauge, by: u64) {
        let counter = match gauge {
            Gauge::Http2 => &mut self.figures.http2,
            Gauge::Upgraded => &mut self.figures.upgraded,
            Gauge::Opaque => &mut self.figures.opaque,
        };
        *counter = counter.wrapping_add(by);
        self.check();
    }

    fn note(&mut self, kind: usize) {
        self.events[kind] += 1;
        self.figures.resumed = self.events[event::RESUMED];
    }

    #[expect(
        clippy::not_unsafe_ptr_arg_deref,
        reason = "the parsers call this safe method with fields of their own connection"
    )]
    fn add(&self, field: *mut u32, by: u32) {
        // SAFETY: the pointer is to a field of the connection, which only this thread changes.
        unsafe { *field = (*field).wrapping_add(by) };
    }

    fn lock(&self, _lock: *mut Lock) {
        assert!(
            !self.locked.replace(true),
            "the lock is taken twice: the kernel would wait forever"
        );
    }

    fn unlock(&self, _lock: *mut Lock) {
        assert!(self.locked.replace(false), "the lock is not taken");
    }
}
