//! Cold starts: how long the first request was queued while there was no backend.
//!
//! Pure: the caller passes the time. A cold start begins with a request that finds neither a backend nor a queued
//! request. It ends when the first queued request gets a backend. Bias: a cold start is not counted if all its requests
//! leave the queue before a backend is ready.

use std::time::Duration;

use tokio::time::Instant;

/// Upper bounds of the histogram's buckets in ms: from the start of a local process to the start of a pod with a large
/// image.
const BOUNDS_MS: [u64; 10] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

/// The completed cold starts of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdStarts {
    /// Number of cold starts.
    pub count: u64,
    /// Total duration of the cold starts.
    pub time: Duration,
    /// Number of cold starts per bucket. The last bucket counts the cold starts above all bounds.
    counts: [u64; BOUNDS_MS.len() + 1],
}

impl ColdStarts {
    /// Returns, for each bucket, its upper bound in seconds and its number of cold starts.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = BOUNDS_MS.iter().map(|&ms| ms as f64 / 1e3);
        bounds
            .chain([f64::INFINITY])
            .zip(self.counts.iter().copied())
    }

    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.time = self.time.saturating_add(took);
        let above = |ms: &&u64| took > Duration::from_millis(**ms);
        self.counts[BOUNDS_MS.iter().take_while(above).count()] += 1;
    }
}

/// The cold starts of a pool: the completed ones, and the current one if there is one.
#[derive(Debug, Default)]
pub(super) struct Cold {
    since: Option<Instant>,
    so_far: ColdStarts,
}

impl Cold {
    /// Begins a cold start: the first request is queued, and there is no backend.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Returns whether a cold start is in progress.
    pub(super) const fn is_begun(&self) -> bool {
        self.since.is_some()
    }

    /// Ends the cold start: a request has got a backend.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.so_far.add(now.saturating_duration_since(since));
        }
    }

    /// Discards the cold start, because no request is queued any more.
    pub(super) fn give_up(&mut self) {
        self.since = None;
    }

    pub(super) const fn so_far(&self) -> ColdStarts {
        self.so_far
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_in_one_bucket() {
        let start = Instant::now();
        let mut cold = Cold::default();
        cold.end(start);
        for ms in [50, 51, 700, 90_000] {
            cold.begin(start);
            cold.end(start + Duration::from_millis(ms));
            cold.end(start + Duration::from_secs(100));
        }
        let seen = cold.so_far();
        assert_eq!((seen.count, seen.time.as_millis()), (4, 90_801));
        let counts: Vec<_> = seen.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(seen.buckets().last().unwrap().0, f64::INFINITY);
    }

    #[test]
    fn one_that_nobody_waited_for_is_none() {
        let start = Instant::now();
        let mut cold = Cold::default();
        cold.begin(start);
        // All requests have left the queue. A new request, 100 s later, begins another cold start.
        cold.begin(start + Duration::from_secs(100));
        cold.end(start + Duration::from_secs(101));
        cold.begin(start);
        cold.give_up();
        cold.end(start + Duration::from_secs(102));
        assert_eq!(cold.so_far().time, Duration::from_secs(1));
    }
}
