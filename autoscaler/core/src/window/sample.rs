//! What is recorded for one second.

/// The greatest figure that is believed, in requests in flight or requests/s of one workload.
///
/// A million pods of a million each: past it a figure is a fault of its source, and sums could lose
/// the small ones.
pub const LARGEST: f64 = 1e12;

/// One source's figures for one second of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Mean requests in flight.
    pub concurrency: f64,
    /// Those of them that the activator reports itself.
    pub proxied_concurrency: f64,
    /// Requests started.
    pub requests: f64,
    /// Those of them that the activator reports itself.
    pub proxied_requests: f64,
}

/// A figure that is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{field} is {value}: must be a number from 0 to {LARGEST:e}")]
pub struct BadSample {
    /// Which figure.
    pub field: &'static str,
    /// What it was.
    pub value: f64,
}

impl Sample {
    /// A sample without any part that came through the activator.
    pub const fn new(concurrency: f64, requests: f64) -> Self {
        Self {
            concurrency,
            proxied_concurrency: 0.0,
            requests,
            proxied_requests: 0.0,
        }
    }

    /// Concurrency and requests, less what the activator reports. May be below zero: an activator's
    /// view and a pod's are not taken at the same instant.
    pub(crate) fn net(&self) -> Result<(f64, f64), BadSample> {
        for (field, value) in [
            ("concurrency", self.concurrency),
            ("proxied concurrency", self.proxied_concurrency),
            ("requests", self.requests),
            ("proxied requests", self.proxied_requests),
        ] {
            checked(field, value)?;
        }
        Ok((
            self.concurrency - self.proxied_concurrency,
            self.requests - self.proxied_requests,
        ))
    }
}

/// `value`, if it can be a measurement.
pub(crate) fn checked(field: &'static str, value: f64) -> Result<f64, BadSample> {
    // NaN is in no range.
    if (0.0..=LARGEST).contains(&value) {
        Ok(value)
    } else {
        Err(BadSample { field, value })
    }
}
