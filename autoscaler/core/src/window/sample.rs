//! A sample: the measurements that are recorded for one second.

/// The largest accepted value, in requests in flight or requests/s of one workload.
///
/// The value corresponds to a million pods with a million requests each. A larger value is an error of its source. In a
/// sum with such a value, small values could be lost by rounding.
pub const LARGEST: f64 = 1e12;

/// The measurements of one source for one second of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Mean requests in flight.
    pub concurrency: f64,
    /// The part of `concurrency` that the activator reports itself.
    pub proxied_concurrency: f64,
    /// Requests started.
    pub requests: f64,
    /// The part of `requests` that the activator reports itself.
    pub proxied_requests: f64,
}

/// A value that cannot be a measurement.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{field} is {value}: must be a number from 0 to {LARGEST:e}")]
pub struct BadSample {
    /// Name of the measurement.
    pub field: &'static str,
    /// The rejected value.
    pub value: f64,
}

impl Sample {
    /// Creates a sample without requests that the activator reports itself.
    pub const fn new(concurrency: f64, requests: f64) -> Self {
        Self {
            concurrency,
            proxied_concurrency: 0.0,
            requests,
            proxied_requests: 0.0,
        }
    }

    /// Returns concurrency and requests, less the parts that the activator reports itself. The results may be negative,
    /// because the activator and the pod do not measure at the same instant.
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

/// Returns `value` if it can be a measurement; otherwise an error.
pub(crate) fn checked(field: &'static str, value: f64) -> Result<f64, BadSample> {
    // NaN is refused too, because no range contains NaN.
    if (0.0..=LARGEST).contains(&value) {
        Ok(value)
    } else {
        Err(BadSample { field, value })
    }
}
