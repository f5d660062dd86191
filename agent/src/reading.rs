//! The counts of one pod at one moment.

use std::time::Duration;

use ebb_abi::{PodCounters, ended, latency::BUCKETS};

/// The cumulative counts of one pod since it was attached.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Time of the reading, `CLOCK_MONOTONIC`.
    pub at: Duration,
    /// Requests in flight at the time of the reading.
    pub in_flight: u64,
    /// Requests in flight that are HTTP/2 streams.
    pub http2: u64,
    /// Requests in flight that are upgraded connections or tunnels.
    pub upgraded: u64,
    /// Requests in flight that are opaque connections: their bytes cannot be parsed, and each counts as one request.
    pub opaque: u64,
    /// Requests started, without excluded requests.
    pub started: u64,
    /// Requests whose response is complete, plus opaque connections that have ended.
    pub completed: u64,
    /// Requests whose connection ended before the response was complete.
    pub aborted: u64,
    /// Probes and requests to excluded paths.
    pub excluded: u64,
    /// Connections that are open at the time of the reading.
    pub connections: u64,
    /// Completed requests by status class, 1xx to 5xx.
    pub status: [u64; 5],
    /// Ended requests by their time in flight; the buckets are those of [`ebb_abi::latency`].
    pub latency: [u64; BUCKETS],
    /// Integral of the requests in flight over time since the pod was attached, in request-nanoseconds. Wraps around at
    /// 2^64.
    pub integral: u64,
}

impl Reading {
    /// The reading of a pod that has served no request.
    pub const NOTHING: Self = Self {
        at: Duration::ZERO,
        in_flight: 0,
        http2: 0,
        upgraded: 0,
        opaque: 0,
        started: 0,
        completed: 0,
        aborted: 0,
        excluded: 0,
        connections: 0,
        status: [0; 5],
        latency: [0; BUCKETS],
        integral: 0,
    };

    pub(crate) fn new(at: Duration, counters: &PodCounters) -> Self {
        let excluded = counters.ended[ended::EXCLUDED];
        let in_flight = counters.started.wrapping_sub(counters.ended_in_all());
        let status: [u64; 5] = std::array::from_fn(|class| counters.ended[class + 1]);
        // The number overflows only after an uptime of 584 years (2^64 ns).
        let now = at.as_nanos() as u64;
        Self {
            at,
            in_flight,
            http2: counters.starts.http2.wrapping_add(counters.ends.http2),
            upgraded: counters.upgraded,
            opaque: counters.opaque,
            started: counters.started.wrapping_sub(excluded),
            completed: status
                .iter()
                .sum::<u64>()
                .wrapping_add(counters.ended[ended::OPAQUE]),
            aborted: counters.ended[ended::ABORTED],
            excluded,
            connections: counters.opened.wrapping_sub(counters.closed),
            status,
            latency: counters.latency,
            integral: in_flight.wrapping_mul(now).wrapping_add(counters.area()),
        }
    }

    /// Returns the number of HTTP/1 requests in flight.
    pub fn http1(&self) -> u64 {
        // The subtraction saturates: `http2`, `upgraded` and `opaque` are read a moment after the other counters, so
        // their sum can exceed `in_flight`.
        self.in_flight.saturating_sub(
            self.http2
                .wrapping_add(self.upgraded)
                .wrapping_add(self.opaque),
        )
    }

    /// Returns the integral of the requests in flight since an earlier reading of the same pod, in request-seconds.
    pub fn integral_since(&self, earlier: &Self) -> f64 {
        // The difference can be negative: `earlier` can include a request that the kernel programs have recognised as a
        // probe and subtracted since. So the difference is converted to a signed number.
        self.integral.wrapping_sub(earlier.integral) as i64 as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use ebb_abi::Sums;

    use super::*;
    use crate::Intervals;

    const SECOND: u64 = 1_000_000_000;

    fn at(seconds: u64, counters: &PodCounters) -> Reading {
        Reading::new(Duration::from_secs(seconds), counters)
    }

    #[test]
    fn the_mean_is_the_integral_over_the_interval() {
        let mut counters = PodCounters::ZERO;
        let before = at(1_000_000, &counters);
        // One request is in flight from second 2 to 6, another from second 4 on.
        counters.started = 2;
        counters.ended[2] = 1;
        counters.starts.area =
            Sums::starts(1, 1_000_002 * SECOND).wrapping_add(Sums::starts(1, 1_000_004 * SECOND));
        counters.ends.area = Sums::ends(1, 1_000_006 * SECOND);
        let after = at(1_000_010, &counters);
        assert_eq!(after.in_flight, 1);
        assert_eq!(after.integral_since(&before), 4.0 + 6.0);
        let interval = Intervals::after(before).next(after.clone());
        assert_eq!(interval.concurrency, 1.0);
        assert_eq!(
            (after.started, after.completed, after.status),
            (2, 1, [0, 1, 0, 0, 0])
        );
    }

    #[test]
    fn a_probe_taken_back_leaves_nothing() {
        let mut counters = PodCounters::ZERO;
        let before = at(5, &counters);
        counters.started = 1;
        counters.ended[ended::EXCLUDED] = 1;
        counters.starts.area = Sums::starts(1, 6 * SECOND);
        counters.ends.area = Sums::ends(1, 6 * SECOND);
        let after = at(9, &counters);
        assert_eq!(after.integral_since(&before), 0.0);
        assert_eq!(
            (
                after.started,
                after.completed,
                after.excluded,
                after.in_flight
            ),
            (0, 0, 1, 0)
        );
    }
}
