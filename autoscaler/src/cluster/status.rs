//! The status port: what the kubelet, Prometheus and people ask.
//!
//! Alive means that the decision loop and the tasks of the watches come round; an API server that is away or silent is no
//! reason to be restarted, because a restart would not bring it back and would cost the windows. Ready means that everything
//! there was to know at the start is known and reports are taken; it stays so, because agents must be able to go on
//! reporting. How old the facts are is told in the answer, and by `ebb_autoscaler_watch_age_seconds`.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ebb_metrics::{Format, status::Answer};
use ebb_page::Page;

use super::{metrics::Metrics, page::Shown, shared::Shared, watch::heard::STALE_AFTER};

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

impl Status {
    /// A line for each watch that was not heard of lately.
    fn old_watches(&self) -> impl Iterator<Item = String> {
        let old = self.shared.watches.ages().into_iter();
        old.filter(|(_, age)| *age > STALE_AFTER).map(|(kind, age)| {
            format!(
                "the API server has told nothing of {kind} for {} s, so nothing is scaled down; the log says why",
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
            true => Ok(std::iter::once("ready".to_owned())
                .chain(self.old_watches())
                .collect::<Vec<_>>()
                .join("\n")),
            false => Err("not all there is has been read yet".to_owned()),
        }
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.text(format)
    }

    fn page(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        self.page.answer(path, query)
    }
}
