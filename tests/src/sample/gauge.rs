//! The number of requests in flight, and its exact integral over time.
//!
//! The arithmetic deliberately differs from the kernel's (two wrapping counters). Here a lock protects the area, which is
//! summed piece by piece at each change. So the two can agree only if both are right. A request is in flight for the life
//! of its [`InFlight`] guard; there is no other way to count a request, and no way to lose one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The gauge. Clones share the same state.
#[derive(Debug, Clone)]
pub(super) struct Gauge(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Time of the integral's last update.
    since: Instant,
    in_flight: u64,
    requests: u64,
    /// Request-nanoseconds up to `since`. 128 bits cannot overflow in the life of a process.
    integral: u128,
}

/// The response to `/stats`. Queries of `/stats` are not counted.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Stats {
    /// Requests begun since the start.
    requests: u64,
    /// Requests begun and not yet ended.
    in_flight: u64,
    /// Integral of `in_flight` over time since the start, in request-seconds.
    integral: f64,
    /// Seconds since the start on the monotonic clock. A difference of `integral` divided by the difference of `at` is an
    /// exact mean.
    at: f64,
    /// The wall clock at the same moment, in unix seconds, to compare with another program's figures.
    t: f64,
}

impl Gauge {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            since: Instant::now(),
            in_flight: 0,
            requests: 0,
            integral: 0,
        })))
    }

    /// Counts one request from now until the guard is dropped.
    pub(super) fn begin(&self) -> InFlight {
        let mut state = self.settled();
        state.in_flight += 1;
        state.requests += 1;
        drop(state);
        InFlight(self.clone())
    }

    /// The counts now; `started` is the server's start time.
    pub(super) fn stats(&self, started: Instant) -> Stats {
        let state = self.settled();
        Stats {
            requests: state.requests,
            in_flight: state.in_flight,
            integral: state.integral as f64 / 1e9,
            at: (state.since - started).as_secs_f64(),
            t: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO)
                .as_secs_f64(),
        }
    }

    /// The state, with its integral updated to this moment.
    fn settled(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is taken, so a poisoned state is still consistent.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock is read inside the lock. Otherwise another thread could update the state with a later time first.
        let now = Instant::now();
        state.integral += u128::from(state.in_flight) * (now - state.since).as_nanos();
        state.since = now;
        state
    }
}

/// One request in flight.
#[derive(Debug)]
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.settled().in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_counts_for_its_life_and_no_longer() {
        let started = Instant::now();
        let gauge = Gauge::new();
        let (one, two) = (gauge.begin(), gauge.begin());
        assert_eq!(gauge.stats(started).in_flight, 2);
        drop(one);
        let at_one = gauge.stats(started);
        drop(two);
        let after = gauge.stats(started);
        assert_eq!((at_one.in_flight, after.in_flight), (1, 0));
        assert_eq!(after.requests, 2);
        // Between the two readings, one request was in flight for at most the whole time.
        assert!(after.integral - at_one.integral <= after.at - at_one.at + 1e-9);
        assert_eq!(gauge.stats(started).integral, after.integral);
    }
}
