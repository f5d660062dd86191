//! The data of the status port, for the kubelet, Prometheus and people.
//!
//! Alive means that the decision loop and the tasks of the watches run. An API server that is unavailable is no reason
//! for a restart: a restart would not help, and the metric windows would be lost. Ready means that all initial lists
//! have been read and reports are accepted. From then on, the replica stays ready, because agents must be able to
//! report. The answer of `/readyz` and the metric `ebb_autoscaler_watch_age_seconds` show how old the facts are.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ebb_metrics::{Format, status::Answer};
use ebb_page::Page;

use super::{metrics::Metrics, page::PageSource, shared::Shared, watch::age::STALE_AFTER};

/// The decision loop counts as stuck after this many seconds without a round. Normally a round starts at least every
/// 100 ms.
const DEAD_AFTER: u64 = 20;

/// The state that the status port serves.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: AtomicBool,
    pub(super) page: Page<PageSource>,
}

impl Status {
    /// Returns one line for each stale watch.
    fn old_watches(&self) -> impl Iterator<Item = String> {
        let old = self.shared.watches.ages().into_iter();
        old.filter(|(_, age)| *age > STALE_AFTER).map(|(kind, age)| {
            format!(
                "no message from the API server about {kind} for {} s, so nothing is scaled down; the log says why",
                age.as_secs()
            )
        })
    }
}

impl ebb_metrics::status::Status for Status {
    fn alive(&self) -> Result<(), String> {
        if let Some(stuck) = self.shared.watches.stuck() {
            return Err(stuck);
        }
        let since = self.shared.since_beat();
        // Before the start is over, no decision is made, so missing decisions are no failure.
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
            true => Ok(std::iter::once("ready".to_owned())
                .chain(self.old_watches())
                .collect::<Vec<_>>()
                .join("\n")),
            false => Err("the initial lists have not been read yet".to_owned()),
        }
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.text(format)
    }

    fn page(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        self.page.answer(path, query)
    }
}
