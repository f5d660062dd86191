//! The status port: what the kubelet, Prometheus and people ask.
//!
//! Alive means that the decision loop comes round; an API server that is away is no reason to be restarted. Ready means
//! that everything there was to know at the start is known and reports are taken; it stays so, because agents must be
//! able to go on reporting.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ebb_metrics::{Format, status::Answer};
use ebb_page::Page;

use super::{metrics::Metrics, page::Shown, shared::Shared};

/// A loop that comes round every tenth of a second and did not for so long does not come round at all.
const DEAD_AFTER: u64 = 20;

/// What is served.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: AtomicBool,
    pub(super) page: Page<Shown>,
}

impl ebb_metrics::status::Status for Status {
    fn alive(&self) -> Result<(), String> {
        let since = self.shared.since_beat();
        // Before the start is over there is nothing to decide.
        if since <= DEAD_AFTER || !self.ready.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(format!(
                "no decision for {since} s; at most {DEAD_AFTER} are normal"
            ))
        }
    }

    fn ready(&self) -> Result<String, String> {
        match self.ready.load(Ordering::Relaxed) {
            true => Ok("ready".to_owned()),
            false => Err("not all there is has been read yet".to_owned()),
        }
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.text(format)
    }

    fn page(&self, path: &str) -> Option<Answer> {
        self.page.answer(path)
    }
}
