//! What happened between two readings of one pod.

use ebb_common::latency::{BUCKETS, lower};

use crate::Reading;

/// The difference of two readings.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Its length in seconds.
    pub seconds: f64,
    /// Mean concurrency.
    pub concurrency: f64,
    /// Requests begun in it.
    pub started: u64,
    /// Requests completed in it.
    pub completed: u64,
    /// Requests excluded in it.
    pub excluded: u64,
    /// Completed requests by status class, 1xx to 5xx.
    pub status: [u64; 5],
    latency: [u64; BUCKETS],
}

impl Interval {
    /// What happened from `earlier` to `later`, two readings of one pod.
    pub fn between(earlier: &Reading, later: &Reading) -> Self {
        Self {
            seconds: later.at.saturating_sub(earlier.at).as_secs_f64(),
            concurrency: later.concurrency_since(earlier),
            // A probe counted before the interval and taken back in it would make this negative.
            started: later.started.saturating_sub(earlier.started),
            completed: later.completed.saturating_sub(earlier.completed),
            excluded: later.excluded.saturating_sub(earlier.excluded),
            status: std::array::from_fn(|class| {
                later.status[class].saturating_sub(earlier.status[class])
            }),
            latency: std::array::from_fn(|bucket| {
                later.latency[bucket].saturating_sub(earlier.latency[bucket])
            }),
        }
    }

    /// The latency in milliseconds that this share (0 to 1) of the requests that ended stayed under,
    /// interpolated within its bucket (within 12.5 %). `None` if none ended.
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
    use super::*;

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
        interval.latency[ebb_common::latency::bucket(100_000_000)] = 99;
        interval.latency[ebb_common::latency::bucket(900_000_000)] = 1;
        let (half, nearly_all) = (
            interval.percentile(0.5).unwrap(),
            interval.percentile(0.999).unwrap(),
        );
        assert!((87.5..=112.5).contains(&half), "{half}");
        assert!((787.5..=1012.5).contains(&nearly_all), "{nearly_all}");
    }
}
