//! How many requests are in flight, and the exact time integral of that.
//!
//! Deliberately not the arithmetic the kernel side uses (two wrapping cells): here a lock, and
//! the area added up piece by piece at each change, so that the two can only agree by being
//! right. A request is in flight for the life of its [`InFlight`] guard; there is no other way
//! to count one, and no way to forget one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The gauge; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Gauge(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// When the integral was last brought up to date.
    since: Instant,
    in_flight: u64,
    requests: u64,
    /// Request-nanoseconds up to `since`. 128 bits: cannot overflow in the life of a process.
    integral: u128,
}

/// What `/stats` answers. `/stats` itself is not counted in it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(super) struct Stats {
    /// Requests begun since the start.
    requests: u64,
    /// Requests begun and not ended.
    in_flight: u64,
    /// Integral of `in_flight` over time since the start, in request-seconds.
    integral: f64,
    /// Seconds since the start on the monotonic clock: differences of `integral` over differences
    /// of this are exact means.
    at: f64,
    /// The wall clock at the same moment, in unix seconds: to line up with another program's.
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

    /// The counts now; `started` is when the server started.
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

    /// The state with its integral brought up to this moment.
    fn settled(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock, so a poisoned one is still whole.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read inside the lock: read outside, another thread's later moment could come first.
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
        // Between the two readings one request was in flight for at most all of the time.
        assert!(after.integral - at_one.integral <= after.at - at_one.at + 1e-9);
        assert_eq!(gauge.stats(started).integral, after.integral);
    }
}
