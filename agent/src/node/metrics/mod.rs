//! The metrics of the agent.
//!
//! The number of label values is bounded: one set per counted pod, plus the constants below. The metrics of a pod have
//! the values of the last reading, so they are at most one second old. The metrics of a deleted pod disappear after a
//! few seconds.

mod pods;
mod programs;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use ebb_agent::counter::{Adoption, Events};
use ebb_metrics::Format;
use ebb_report_client::Sending;
use prometheus_client::{metrics::counter::Counter, registry::Registry};

use super::counting::{PodCounts, PodReading};

/// The state of the node after the last reading of its pods.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) readings: Vec<PodReading>,
    pub(super) pod_counts: PodCounts,
    /// Number of failed readings since the agent started.
    pub(super) missed: u64,
    /// True if the API server has listed the pods of the node.
    pub(super) synced: bool,
    pub(super) status: CountingStatus,
    /// Counts of rare events in the kernel.
    pub(super) events: Events,
}

/// Whether requests can be counted on this node.
#[derive(Debug, Default)]
pub(super) enum CountingStatus {
    /// Unknown: the counter is being loaded.
    #[default]
    Loading,
    /// Requests are counted. `pinned` is true if the counting continues without the agent.
    Counting { pinned: bool, adoption: Adoption },
    /// Requests cannot be counted. The fields are the reason in one word, and the full reason.
    Unavailable(&'static str, String),
}

/// The state of the node after the last reading of its pods, shared with the tasks that serve this state.
pub(super) type SharedView = Arc<Mutex<View>>;

/// All metrics of the agent.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    sending: Sending,
    wakeups: Counter,
    watch_errors: Counter,
}

impl Metrics {
    pub(super) fn new(view: &SharedView) -> Arc<Self> {
        let mut all = Registry::with_prefix("ebb");
        all.register_collector(Box::new(pods::Pods(Arc::clone(view))));
        let registry = all.sub_registry_with_prefix("agent");
        let sending = Sending::registered(
            registry,
            "reported_pods",
            "Pods in reports, by the outcome that the autoscaler returned for them",
        );
        let (wakeups, watch_errors) = (Counter::default(), Counter::default());
        registry.register(
            "wakeups",
            "Bursts that the kernel reported before the next reading was due",
            wakeups.clone(),
        );
        registry.register(
            "watch_errors",
            "Interruptions of the watch on the API server",
            watch_errors.clone(),
        );
        registry.register_collector(Box::new(state::NodeState(Arc::clone(view))));
        registry.register_collector(Box::new(programs::Programs));
        Arc::new(Self {
            registry: all,
            sending,
            wakeups,
            watch_errors,
        })
    }

    pub(super) fn sending(&self) -> Sending {
        self.sending.clone()
    }

    pub(super) fn woken(&self) {
        self.wakeups.inc();
    }

    pub(super) fn watch_broke(&self) {
        self.watch_errors.inc();
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    pub(super) fn text(&self, format: Format) -> Result<String, fmt::Error> {
        format.encode(&self.registry)
    }
}

#[cfg(test)]
mod tests;
