//! The requests of one pod in the time between two readings.

use ebb_abi::latency::{BUCKETS, lower};

use crate::Reading;

/// The difference between two readings of one pod.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Length of the interval, in seconds.
    pub seconds: f64,
    /// Mean number of requests in flight.
    pub concurrency: f64,
    /// Requests started in the interval.
    pub started: u64,
    /// Requests completed in the interval.
    pub completed: u64,
    /// Requests of the interval that are not counted: probes, and requests to excluded paths.
    pub excluded: u64,
    /// Completed requests by status class, 1xx to 5xx.
    pub status: [u64; 5],
    latency: [u64; BUCKETS],
}

/// The consecutive intervals between the readings of one pod.
///
/// A request is counted when it begins. If the kernel programs recognise a request as a probe later, they subtract it.
/// The subtraction can make the started requests and the concurrency of an interval negative, which no chart can show.
/// A negative number is reported as zero, and the following intervals are reduced by the difference. The sum over all
/// intervals is correct.
#[derive(Clone, Debug)]
pub struct Intervals {
    last: Reading,
    /// Number of requests by which the earlier intervals were reported too high. The following intervals are reduced by
    /// this number.
    started_owed: u64,
    /// Request-seconds by which the earlier intervals were reported too high. The following intervals are reduced by
    /// this number. It is negative if they were reported too low: an interval of zero seconds cannot report its
    /// request-seconds.
    integral_owed: f64,
}

impl Intervals {
    /// Creates the series of intervals that begins at the first reading of a pod.
    pub fn after(first: Reading) -> Self {
        Self {
            last: first,
            started_owed: 0,
            integral_owed: 0.0,
        }
    }

    /// Returns the interval from the previous reading to `later`.
    pub fn next(&mut self, later: Reading) -> Interval {
        let last = &self.last;
        let seconds = later.at.saturating_sub(last.at).as_secs_f64();
        // The difference of the request counts fits into `i64`, because no interval has 2^63 requests.
        let started = later.started.wrapping_sub(last.started) as i64;
        let started = started.saturating_sub_unsigned(self.started_owed);
        let integral = later.integral_since(last) - self.integral_owed;
        let interval = Interval {
            seconds,
            concurrency: if seconds > 0.0 {
                integral.max(0.0) / seconds
            } else {
                0.0
            },
            started: u64::try_from(started).unwrap_or(0),
            completed: later.completed.saturating_sub(last.completed),
            excluded: later.excluded.saturating_sub(last.excluded),
            status: std::array::from_fn(|class| {
                later.status[class].saturating_sub(last.status[class])
            }),
            latency: std::array::from_fn(|bucket| {
                later.latency[bucket].saturating_sub(last.latency[bucket])
            }),
        };
        self.started_owed = started.min(0).unsigned_abs();
        self.integral_owed = if seconds > 0.0 {
            (-integral).max(0.0)
        } else {
            -integral
        };
        self.last = later;
        interval
    }
}

impl Interval {
    /// Returns the latency percentile in milliseconds for a share of 0 to 1: that share of the ended requests had this
    /// latency or less. The value is interpolated within its bucket (accurate to 12.5 %). `None` if no request ended.
    pub fn percentile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.latency.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        for (bucket, count) in self.latency.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let (low, high) = (lower(bucket) as f64, lower(bucket + 1) as f64);
                return Some((low + (high - low) * (rank - below) / count) / 1e6);
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn reading(seconds: u64, started: u64, integral: i64) -> Reading {
        Reading {
            at: Duration::from_secs(seconds),
            started,
            integral: (integral * 1_000_000_000) as u64,
            ..Reading::NOTHING
        }
    }

    #[test]
    fn what_is_taken_back_is_carried_over() {
        let mut intervals = Intervals::after(reading(100, 10, -50));
        let mut next = |reading| {
            let interval = intervals.next(reading);
            (interval.started, interval.concurrency)
        };
        // One request begins and is in flight for one second. In the next interval it is recognised as a probe and
        // subtracted, and no other request begins.
        assert_eq!(next(reading(101, 11, -49)), (1, 1.0));
        assert_eq!(next(reading(102, 10, -50)), (0, 0.0));
        // Two requests begin. This interval is reduced by one request and one request-second: those of the probe, which
        // the first interval reported.
        assert_eq!(next(reading(104, 12, -46)), (1, 1.5));
        assert_eq!(next(reading(105, 13, -44)), (1, 2.0));
        // An interval of zero seconds reports the request that began, but cannot report its request-second. The next
        // interval reports the request-second.
        assert_eq!(next(reading(105, 14, -43)), (1, 0.0));
        assert_eq!(next(reading(106, 14, -43)), (0, 1.0));
    }

    #[test]
    fn percentiles_lie_in_their_bucket() {
        let mut interval = Interval {
            seconds: 1.0,
            concurrency: 0.0,
            started: 0,
            completed: 0,
            excluded: 0,
            status: [0; 5],
            latency: [0; BUCKETS],
        };
        assert_eq!(interval.percentile(0.5), None);
        interval.latency[ebb_abi::latency::bucket(100_000_000)] = 99;
        interval.latency[ebb_abi::latency::bucket(900_000_000)] = 1;
        let (half, nearly_all) = (
            interval.percentile(0.5).unwrap(),
            interval.percentile(0.999).unwrap(),
        );
        assert!((87.5..=112.5).contains(&half), "{half}");
        assert!((787.5..=1012.5).contains(&nearly_all), "{nearly_all}");
    }
}
