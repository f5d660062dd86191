//! Tests of two CPUs that change one connection.
//!
//! One test interleaves the two CPUs: one CPU is in the middle of an event when the other one runs another event from
//! its beginning to its end. The interruptions are at the places where they can make a difference: at the atomic adds,
//! and at the lock. The other test runs the two CPUs at the same time, in two threads. After each pair of events, every
//! stream must have been counted exactly once.

extern crate std;
use std::{
    boxed::Box,
    cell::Cell,
    hint,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst},
    thread,
    vec::Vec,
};

use ebb_abi::latency::BUCKETS;

use super::*;
use crate::http2::{OverflowClaim, OverflowTable};

/// Counters that both CPUs change.
#[derive(Default)]
struct Counters {
    started: AtomicU64,
    ended: AtomicU64,
    latencies: AtomicU64,
    http2: AtomicU64,
    opaque: AtomicU64,
    now: AtomicU64,
}

impl Counters {
    fn in_flight(&self) -> i64 {
        self.started
            .load(SeqCst)
            .wrapping_sub(self.ended.load(SeqCst)) as i64
    }

    fn gauges(&self) -> [i64; 2] {
        [&self.http2, &self.opaque].map(|gauge| gauge.load(SeqCst) as i64)
    }
}

/// A simulated CPU that counts, and that lets the other CPU run at one of its interruption points.
struct Cpu<'a> {
    counters: &'a Counters,
    /// Number of interruption points before the one at which the other CPU runs.
    overtaken_after: Cell<u32>,
    other: Cell<Option<Box<dyn FnOnce() + 'a>>>,
}

impl<'a> Cpu<'a> {
    fn alone(counters: &'a Counters) -> Self {
        Self {
            counters,
            overtaken_after: Cell::new(0),
            other: Cell::new(None),
        }
    }

    fn place(&self) {
        match self.overtaken_after.get().checked_sub(1) {
            Some(left) => self.overtaken_after.set(left),
            None => {
                if let Some(other) = self.other.take() {
                    other();
                }
            }
        }
    }
}

/// Waits for the other thread in a loop, so that both threads continue within nanoseconds of each other. Sometimes
/// yields the processor, because on a busy machine the other thread may not be running.
fn wait_until(is_so: impl Fn() -> bool) {
    let mut looks = 0;
    while !is_so() {
        looks += 1;
        if looks % 1000 == 0 {
            thread::yield_now();
        } else {
            hint::spin_loop();
        }
    }
}

impl Meter for Cpu<'_> {
    const HAS_OVERFLOW: bool = true;

    fn claim_overflow(&self, _slot: u32) -> Option<OverflowClaim> {
        None
    }

    fn overflow(&self, _index: u32) -> Option<NonNull<OverflowTable>> {
        None
    }

    fn release_overflow(&self, _index: u32) {
        unreachable!("no table has been claimed");
    }

    fn now(&self) -> u64 {
        self.counters.now.fetch_add(1 << 20, SeqCst)
    }

    fn start(&mut self, count: u64, _now: u64) {
        self.place();
        self.counters.started.fetch_add(count, SeqCst);
        self.place();
    }

    fn end(&mut self, _way: usize, count: u64, _now: u64) {
        self.counters.ended.fetch_add(count, SeqCst);
    }

    fn latency(&mut self, bucket: usize) {
        assert!(bucket < BUCKETS);
        self.counters.latencies.fetch_add(1, SeqCst);
    }

    fn gauge(&mut self, gauge: Gauge, by: u64) {
        match gauge {
            Gauge::Http2 => self.counters.http2.fetch_add(by, SeqCst),
            Gauge::Opaque => self.counters.opaque.fetch_add(by, SeqCst),
            Gauge::Upgraded => unreachable!("HTTP/1's"),
        };
    }

    fn note(&mut self, _event: usize) {}

    fn add(&self, field: *mut u32, by: u32) {
        self.place();
        // SAFETY: the pointer is aligned, and is valid as long as the connection.
        unsafe { AtomicU32::from_ptr(field) }.fetch_add(by, SeqCst);
        self.place();
    }

    fn lock(&self, lock: *mut Lock) {
        self.place();
        // SAFETY: the pointer is aligned, and is valid as long as the connection.
        let lock = unsafe { AtomicU32::from_ptr(&raw mut (*lock).val) };
        wait_until(|| lock.swap(1, SeqCst) == 0);
    }

    fn unlock(&self, lock: *mut Lock) {
        // SAFETY: the pointer is aligned, and is valid as long as the connection.
        let lock = unsafe { AtomicU32::from_ptr(&raw mut (*lock).val) };
        lock.store(0, SeqCst);
        self.place();
    }
}

/// An event and its name. `IN` are events of ingress; `OUT` are events of egress and close.
type Event = (&'static str, fn(&mut Http2, &mut Cpu<'_>));

const IN: [Event; 5] = [
    ("begins", |http2, cpu| begin(http2, cpu, 5)),
    ("is reset", |http2, cpu| http2.reset(cpu, 1)),
    ("another is reset", |http2, cpu| http2.reset(cpu, 3)),
    ("is excluded", |http2, cpu| http2.exclude(cpu, 1)),
    ("opaque from the client", |http2, cpu| {
        http2.become_opaque(Side::Requests, cpu)
    }),
];

const OUT: [Event; 5] = [
    ("ends", |http2, cpu| http2.end(cpu, 1, 2)),
    ("is reset by the server", |http2, cpu| {
        http2.end(cpu, 1, RESET)
    }),
    ("opaque from the server", |http2, cpu| {
        http2.become_opaque(Side::Responses, cpu)
    }),
    ("closed", |http2, cpu| http2.finish(cpu)),
    ("head of a response", |http2, cpu| http2.answered(cpu, 1, 2)),
];

/// Number of interruption points that are tried. No event has more of them.
const PLACES: u32 = 12;

/// Begins a stream, as if the client's preface had been read.
fn begin(http2: &mut Http2, cpu: &mut Cpu<'_>, id: u32) {
    http2.requests.direction.open_at(0);
    http2.begin(cpu, id);
}

/// Returns a new connection after the events `before`.
fn connection(counters: &Counters, before: &[Event]) -> Box<Http2> {
    let mut http2 = Box::new(Http2::ZERO);
    let mut cpu = Cpu::alone(counters);
    for (_, event) in before {
        event(&mut http2, &mut cpu);
    }
    http2
}

/// Checks that all counters of a connection are consistent. `story` names the events that have run, for the messages.
fn check(http2: &mut Http2, counters: &Counters, before: &[Event], story: &str) {
    let [streams, opaque] = counters.gauges();
    let in_flight = counters.in_flight();
    assert_eq!(streams + opaque, in_flight, "{story}");
    if http2.is_read() {
        let ids = [1, 3, 5];
        let places = ids
            .iter()
            .filter_map(|id| http2.streams.find(Overflow::NONE, *id));
        let plain =
            places.filter(|place| !http2.streams.note(Overflow::NONE, *place).is_excluded());
        assert_eq!(plain.count() as i64, in_flight, "{story}");
        assert_eq!(i64::from(http2.open()), in_flight, "{story}");
    }
    assert_eq!((http2.ending, http2.taking), (0, 0), "{story}");
    http2.finish(&mut Cpu::alone(counters));
    assert_eq!(
        (counters.in_flight(), counters.gauges()),
        (0, [0, 0]),
        "{story}, closed"
    );
    // A connection that becomes opaque while no stream is in flight is counted as one more start.
    let begun = counters.started.load(SeqCst);
    let least = before.len().min(2) as u64;
    assert!(
        (least..=least + 2).contains(&begun),
        "{story}: {begun} begun"
    );
    assert!(counters.latencies.load(SeqCst) <= begun, "{story}");
}

/// Runs `slow`, and interrupts it at the interruption point number `after`: there, runs `quick` from its beginning to
/// its end.
fn overtake(before: &[Event], slow: Event, quick: Event, after: u32) {
    let counters = Counters::default();
    let mut http2 = connection(&counters, before);
    let shared: *mut Http2 = &mut *http2;
    let mut cpu = Cpu::alone(&counters);
    cpu.overtaken_after.set(after);
    let counters_too = &counters;
    // SAFETY: as in the kernel, both CPUs read all shared data from memory.
    cpu.other.set(Some(Box::new(move || unsafe {
        quick.1(&mut *shared, &mut Cpu::alone(counters_too));
    })));
    // SAFETY: as in the kernel, both CPUs read all shared data from memory.
    unsafe { slow.1(&mut *shared, &mut cpu) };
    if let Some(other) = cpu.other.take() {
        other();
    }
    let story: Vec<_> = before
        .iter()
        .chain([&slow, &quick])
        .map(|event| event.0)
        .collect();
    check(
        &mut http2,
        &counters,
        before,
        &std::format!("{story:?} at {after}"),
    );
}

const ONE: Event = ("1", |http2, cpu| begin(http2, cpu, 1));
const THREE: Event = ("3", |http2, cpu| begin(http2, cpu, 3));

/// The possible values of `before`: the events before the two CPUs run. If there are none, only the server has sent
/// data.
const BEFORE: [&[Event]; 4] = [
    &[],
    &[ONE, THREE],
    &[
        ONE,
        THREE,
        ("excluded before", |http2, cpu| http2.exclude(cpu, 1)),
    ],
    &[
        ONE,
        THREE,
        ("another answered before", |http2, cpu| {
            http2.answered(cpu, 3, 4)
        }),
    ],
];

#[test]
fn overtaken_at_any_place() {
    for before in BEFORE {
        for from_client in IN {
            for from_server in OUT {
                for place in 0..PLACES {
                    overtake(before, from_client, from_server, place);
                    overtake(before, from_server, from_client, place);
                }
            }
        }
    }
}

/// A connection that two threads share, and its counters.
struct Shared(*mut Http2, *const Counters);
// SAFETY: the two threads wait for each other before and after they use the connection. In between, they use it as the
// kernel programs do.
unsafe impl Sync for Shared {}

/// Number of times that each pair of events runs at the same time.
const MEETINGS: usize = 2_000;

#[test]
fn at_the_same_time() {
    let pairs: Vec<_> = BEFORE
        .into_iter()
        .flat_map(|before| IN.map(|from_client| (before, from_client)))
        .flat_map(|(before, from_client)| OUT.map(|from_server| (before, from_client, from_server)))
        .collect();
    for (before, from_client, from_server) in pairs {
        let counters: Vec<_> = (0..MEETINGS).map(|_| Counters::default()).collect();
        let mut connections: Vec<_> = counters
            .iter()
            .map(|counters| connection(counters, before))
            .collect();
        let shared: Vec<_> = connections
            .iter_mut()
            .zip(&counters)
            .map(|(http2, counters)| Shared(&mut **http2, counters))
            .collect();
        let arrived = AtomicUsize::new(0);
        let go = |event: fn(&mut Http2, &mut Cpu<'_>)| {
            for (meeting, Shared(http2, counters)) in shared.iter().enumerate() {
                arrived.fetch_add(1, SeqCst);
                wait_until(|| arrived.load(SeqCst) >= 2 * (meeting + 1));
                // SAFETY: both threads use the connection as the kernel programs do (see `Shared`).
                unsafe { event(&mut **http2, &mut Cpu::alone(&**counters)) };
            }
        };
        thread::scope(|scope| {
            scope.spawn(|| go(from_client.1));
            go(from_server.1);
        });
        let story = std::format!("{} beside {}", from_client.0, from_server.0);
        for (http2, counters) in connections.iter_mut().zip(&counters) {
            check(http2, counters, before, &story);
        }
    }
}
