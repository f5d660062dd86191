//! Cold starts: how long the first request waited where there was no backend at all.
//!
//! Pure: the time is handed in. One begins with a request that finds no backend and nobody waiting, and ends when the
//! first of those that wait is handed over. Bias: one whose requests have all gone away before is none.

use std::time::Duration;

use tokio::time::Instant;

/// Upper bounds of the histogram in ms: from a process that is just spawned to a pod with a large image.
const BOUNDS_MS: [u64; 10] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000,
];

/// The cold starts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColdStarts {
    /// How many there were.
    pub count: u64,
    /// How long they took, added up.
    pub time: Duration,
    /// By length; the last are those above all bounds.
    counts: [u64; BOUNDS_MS.len() + 1],
}

impl ColdStarts {
    /// Upper bound in seconds, and how many lie between it and the bound before.
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

/// The cold starts of a pool, and the one that may be under way.
#[derive(Debug, Default)]
pub(super) struct Cold {
    since: Option<Instant>,
    so_far: ColdStarts,
}

impl Cold {
    /// The first request waits, and there is no backend.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// One is under way.
    pub(super) const fn is_begun(&self) -> bool {
        self.since.is_some()
    }

    /// A request has been handed over.
    pub(super) fn end(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.so_far.add(now.saturating_duration_since(since));
        }
    }

    /// Nobody waits any more.
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
        // All went away; much later somebody comes.
        cold.begin(start + Duration::from_secs(100));
        cold.end(start + Duration::from_secs(101));
        cold.begin(start);
        cold.give_up();
        cold.end(start + Duration::from_secs(102));
        assert_eq!(cold.so_far().time, Duration::from_secs(1));
    }
}
