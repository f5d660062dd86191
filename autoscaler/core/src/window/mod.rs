//! The metric windows of a workload: its load, second by second.
//!
//! There are four rings, as in Knative: stable and panic window, each for concurrency and for requests per second, so
//! that the windows of both metrics are filled when the metric is changed. The two lengths cannot share one ring,
//! because the rules for late samples and for a restart after missing data depend on the length.
//!
//! Samples of the same second add up, so that the samples of several sources give the load of the workload. Failure
//! mode: missing data is not zero. The seconds since the newest sample are excluded from the mean, and a window without
//! any data has no average.

mod ring;
pub(crate) mod sample;

use std::time::Duration;

pub use self::{
    ring::Window,
    sample::{BadSample, LARGEST, Sample},
};
use crate::{class::Metric, settings::Settings, time::Timestamp};

/// Length of a bucket.
pub const BUCKET: Duration = Duration::from_secs(1);

/// Averages over the two windows, each summed over all sources of the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Average over the stable window.
    pub stable: f64,
    /// Average over the panic window.
    pub panic: f64,
}

/// The stable and panic windows of one workload, for both metrics.
#[derive(Clone, Debug)]
pub struct Windows {
    concurrency: Pair,
    rps: Pair,
}

#[derive(Clone, Debug)]
struct Pair {
    stable: Window,
    panic: Window,
}

impl Windows {
    /// Creates empty windows with the lengths in `settings`.
    pub fn new(settings: &Settings) -> Self {
        let pair = Pair {
            stable: Window::new(settings.stable_window, BUCKET, settings.aggregation),
            panic: Window::new(settings.panic_window, BUCKET, settings.aggregation),
        };
        Self {
            concurrency: pair.clone(),
            rps: pair,
        }
    }

    /// Applies changed lengths of the windows and a changed way of averaging. Samples are kept as far as they fit into
    /// the windows.
    pub fn configure(&mut self, now: Timestamp, settings: &Settings) {
        for pair in [&mut self.concurrency, &mut self.rps] {
            for (window, length) in [
                (&mut pair.stable, settings.stable_window),
                (&mut pair.panic, settings.panic_window),
            ] {
                window.resize(now, length);
                window.set_aggregation(settings.aggregation);
            }
        }
    }

    /// Adds a sample to the second that contains `at`.
    ///
    /// # Errors
    /// If a value is NaN, negative or above [`LARGEST`], so that it cannot be a measurement. Nothing is recorded in
    /// this case.
    pub fn record(&mut self, at: Timestamp, sample: &Sample) -> Result<(), BadSample> {
        let (concurrency, rps) = sample.net()?;
        self.add(at, concurrency, rps);
        Ok(())
    }

    /// Adds measured values that are known to be finite numbers.
    pub(crate) fn add(&mut self, at: Timestamp, concurrency: f64, rps: f64) {
        for (pair, value) in [(&mut self.concurrency, concurrency), (&mut self.rps, rps)] {
            pair.stable.record(at, value);
            pair.panic.record(at, value);
        }
    }

    /// Returns the averages of `metric` at `now`; `None` if nothing was recorded for longer than the stable window.
    pub fn averages(&self, now: Timestamp, metric: &Metric) -> Option<Averages> {
        let pair = match metric {
            Metric::Rps => &self.rps,
            Metric::Concurrency | Metric::Named(_) => &self.concurrency,
        };
        (!pair.stable.is_empty(now)).then(|| Averages {
            stable: pair.stable.average(now),
            panic: pair.panic.average(now),
        })
    }

    /// Returns the size of the heap memory in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        [&self.concurrency, &self.rps]
            .iter()
            .map(|pair| pair.stable.heap_bytes() + pair.panic.heap_bytes())
            .sum()
    }
}
