//! The endpoints `/metrics`, `/healthz` and `/readyz`.
//!
//! Healthy: the process answers. Ready: all EndpointSlices and all records of ports have been read, no record is
//! missing (or the wait for it has ended), and the process is not stopping.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use ebb_metrics::Format;

use crate::metrics::Metrics;

/// The data that the status port serves.
#[derive(Debug)]
pub(crate) struct Status {
    metrics: Metrics,
    ready: AtomicBool,
}

impl Status {
    /// Creates the state of an activator that is not ready yet.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            ready: AtomicBool::new(false),
        }
    }

    /// Records whether the activator is ready.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

impl ebb_metrics::status::Status for Status {
    fn ready(&self) -> Result<String, String> {
        match self.ready.load(Ordering::Relaxed) {
            true => Ok("ready".to_owned()),
            false => Err(
                "EndpointSlices have not been read yet, or the activator is stopping".to_owned(),
            ),
        }
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.text(format)
    }
}
