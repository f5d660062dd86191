//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Healthy: the process answers. Ready: it does what it can on this node, which may be nothing; then the answer says
//! why. A node that cannot count is to be seen, not to hold up the roll-out on all others.

use std::{
    fmt,
    sync::{Arc, PoisonError},
};

use ebb_metrics::Format;

use super::metrics::{Metrics, Shown, Standing};

/// Answers questions about the agent.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) shown: Shown,
    pub(super) metrics: Arc<Metrics>,
}

impl ebb_metrics::status::Status for Status {
    fn ready(&self) -> Result<String, String> {
        let view = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match (&view.standing, view.synced) {
            (Standing::Loading, _) => Err("it waits for the kernel programs".to_owned()),
            (_, false) => Err("it waits for the API server".to_owned()),
            (Standing::Counts { .. }, true) => Ok("ready".to_owned()),
            (Standing::Lacks(_, why), true) => Ok(format!("does not count: {why}")),
        }
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.text(format)
    }
}
