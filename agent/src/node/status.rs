//! The endpoints `/metrics`, `/healthz` and `/readyz`.
//!
//! Healthy: the process answers. Ready: the agent has loaded the counter or knows why it cannot, and has listed the
//! node's pods. An agent that cannot count is ready, too, because it must not block the roll-out on other nodes. Its
//! response to `/readyz` contains the reason.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use ebb_metrics::Format;

use super::metrics::{CountingStatus, Metrics, SharedView};

/// The data that the status port serves.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) view: SharedView,
    pub(super) metrics: Arc<Metrics>,
}

impl ebb_metrics::status::Status for Status {
    fn ready(&self) -> Result<String, String> {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        match (&view.status, view.synced) {
            (CountingStatus::Loading, _) => {
                Err("the kernel programs are not loaded yet".to_owned())
            }
            (_, false) => Err("the API server has not listed the pods of this node yet".to_owned()),
            (CountingStatus::Counting { .. }, true) => Ok("ready".to_owned()),
            (CountingStatus::Unavailable(_, why), true) => Ok(format!("does not count: {why}")),
        }
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.text(format)
    }
}
