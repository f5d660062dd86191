//! What the engine sees and has decided, to be shown.

use std::time::Duration;

use ebb_autoscaler_core::{Metric, Timestamp, annotations::Mode};
use serde::Serialize;

use super::{Engine, entry::Entry, series::SILENT_AFTER};

/// Silent pods that are named; the rest is a number.
const NAMED: usize = 10;

/// One workload, as `GET /v1/workloads` tells it.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadView {
    /// Namespace.
    pub namespace: String,
    /// Kind of what is scaled.
    pub kind: String,
    /// API group of it.
    pub group: String,
    /// Name of it.
    pub name: String,
    /// `act`, `recommend`, `refused` or `paused`.
    pub mode: &'static str,
    /// Why it is not scaled, where it is refused.
    pub refused: Option<String>,
    /// Pods it is asked to have.
    pub replicas: u32,
    /// Pods that can take requests; `None` before the first decision.
    pub ready: Option<u32>,
    /// Pods wanted, bounds included; `None` as long as nothing is known.
    pub desired: Option<u32>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When that was decided, seconds since 1970.
    pub decided_at: Option<f64>,
    /// What is compared with the target: `concurrency` or `rps`.
    pub metric: Option<&'static str>,
    /// Load a pod is meant to carry.
    pub target: Option<f64>,
    /// Average over the stable window; `None` without data.
    pub stable: Option<f64>,
    /// Average over the panic window.
    pub panic: Option<f64>,
    /// Whether it is a panic.
    pub panic_mode: bool,
    /// Requests in flight when its pods were last heard of.
    pub in_flight: u64,
    /// Of these, connections whose bytes cannot be read.
    pub opaque: u64,
    /// Pods that may be serving and are not heard of; while there are any the workload does not shrink.
    pub silent_pods: usize,
    /// Some of them by name.
    pub silent: Vec<String>,
    /// The last change of its scale.
    pub scaled: Option<ScaledView>,
}

/// A change of a scale.
#[derive(Clone, Debug, Serialize)]
pub struct ScaledView {
    /// When, seconds since 1970.
    pub at: f64,
    /// Pods before.
    pub from: u32,
    /// Pods after.
    pub to: u32,
    /// Why.
    pub reason: String,
    /// Why it could not be done, if so.
    pub error: Option<String>,
}

/// Figures over all workloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Workloads.
    pub workloads: usize,
    /// Pods known.
    pub pods: usize,
    /// Senders heard of lately.
    pub senders: usize,
    /// Senders that are silent.
    pub silent_senders: usize,
}

impl Engine {
    /// All workloads, by number.
    pub fn views(&self) -> impl Iterator<Item = WorkloadView> + '_ {
        self.entries.values().map(|entry| self.view(entry))
    }

    /// Figures over all.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        let silent = self.senders.values();
        let silent = silent.filter(|sender| now.since(sender.heard) > SILENT_AFTER);
        Figures {
            workloads: self.entries.len(),
            pods: self.pods.len(),
            senders: self.senders.len(),
            silent_senders: silent.count(),
        }
    }

    fn view(&self, entry: &Entry) -> WorkloadView {
        let key = &entry.target.key;
        let last = entry.last.as_ref();
        let settings = entry.workload.as_ref().map(|workload| workload.settings());
        let averages = last.and_then(|last| last.decision.averages);
        let silent = last.map_or(&[][..], |last| &last.silent);
        let mode = match entry.mode {
            _ if entry.refusal.is_some() => "refused",
            _ if entry.is_paused(self.activator) => "paused",
            Mode::Act if !self.recommend_only => "act",
            Mode::Act | Mode::Recommend => "recommend",
        };
        WorkloadView {
            namespace: key.namespace.to_string(),
            kind: key.kind.to_string(),
            group: key.group.to_string(),
            name: key.name.to_string(),
            mode,
            refused: entry.refusal.as_ref().map(|refusal| refusal.note.clone()),
            replicas: entry.target.replicas,
            ready: last.and_then(|last| last.facts.ready),
            desired: last.and_then(|last| last.decision.step.want.or(last.decision.desired)),
            reason: last.map(|last| last.decision.reason.to_string()),
            decided_at: last.map(|last| seconds(last.decision.at.since_epoch())),
            metric: settings.map(|settings| match settings.metric {
                Metric::Rps => "rps",
                Metric::Concurrency | Metric::Named(_) => "concurrency",
            }),
            target: settings.map(|settings| settings.target),
            stable: averages.map(|averages| averages.stable),
            panic: averages.map(|averages| averages.panic),
            panic_mode: last.is_some_and(|last| last.decision.panic_mode),
            in_flight: last.map_or(0, |last| last.in_flight),
            opaque: last.map_or(0, |last| last.opaque),
            silent_pods: silent.len(),
            silent: silent
                .iter()
                .take(NAMED)
                .map(|name| name.to_string())
                .collect(),
            scaled: entry.written.as_ref().map(|written| ScaledView {
                at: seconds(written.at.since_epoch()),
                from: written.order.from,
                to: written.order.to,
                reason: written.order.reason.clone(),
                error: written.error.clone(),
            }),
        }
    }
}

/// To the millisecond: nobody needs more, and it prints short.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}
