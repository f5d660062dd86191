//! The memory of a workload: what it carried, second by second.
//!
//! Four rings, as in Knative: stable and panic window, each for concurrency and for requests per
//! second, so that a change of metric finds warm windows. The two lengths cannot share one ring,
//! because the rules for late samples and for starting afresh after silence depend on the length.
//!
//! Samples of one second add up, which is how several sources make one figure. Failure mode:
//! silence is not zero. It shrinks the divisor until the whole window is silent, and only then
//! there is no data.

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

/// Means over the two windows, summed over the workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Averages {
    /// Over the stable window.
    pub stable: f64,
    /// Over the panic window.
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
    /// Empty windows of the lengths that `settings` ask for.
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

    /// Takes over changed lengths and a changed averaging; what was recorded is kept as far as it
    /// fits.
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

    /// Adds one second's sample to the second `at` lies in.
    ///
    /// # Errors
    /// A sample that is no measurement; nothing is recorded then.
    pub fn record(&mut self, at: Timestamp, sample: &Sample) -> Result<(), BadSample> {
        let (concurrency, rps) = sample.net()?;
        self.add(at, concurrency, rps);
        Ok(())
    }

    /// Adds figures that are known to be finite.
    pub(crate) fn add(&mut self, at: Timestamp, concurrency: f64, rps: f64) {
        for (pair, value) in [(&mut self.concurrency, concurrency), (&mut self.rps, rps)] {
            pair.stable.record(at, value);
            pair.panic.record(at, value);
        }
    }

    /// The averages of `metric` at `now`; `None` when nothing was recorded for longer than the
    /// stable window.
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

    /// Bytes held beyond the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        [&self.concurrency, &self.rps]
            .iter()
            .map(|pair| pair.stable.heap_bytes() + pair.panic.heap_bytes())
            .sum()
    }
}
