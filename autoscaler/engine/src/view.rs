//! Views of the engine's state, for the status page, the API and metrics.

use std::time::Duration;

use ebb_autoscaler_core::{Config, Metric};
use ebb_page_model::{CountedAt, Detail, NotCounted, Scaled, SettingSources, Workload, settings};

use super::{
    decision_counts::DecisionCounts, routing::ServiceRouting, workload_state::WorkloadState,
};

/// Maximum number of pods without current metrics that are listed by name. A separate count includes all such pods.
const NAMED: usize = 10;

/// Totals over all workloads, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Number of workloads.
    pub workloads: usize,
    /// Number of workloads that are not scaled because their namespaces have reached the limit.
    pub beyond_limit: usize,
    /// Number of known pods.
    pub pods: usize,
    /// Number of senders that reported within the last hour.
    pub senders: usize,
    /// Number of senders that reported within the last hour and have no current report.
    pub stale_senders: usize,
    /// Number of activators with a current report.
    pub activators: usize,
    /// Number of activators that reported within the last hour and have no current report.
    pub stale_activators: usize,
    /// Longest delay of the last report, over the senders with a current report.
    pub lag: Duration,
    /// Number of decisions since the start of this process, by what determined the decision.
    pub decisions: DecisionCounts,
}

impl WorkloadState {
    /// Returns the detailed view of the workload.
    pub(super) fn detail(&self, config: &Config, routing: Option<&ServiceRouting>) -> Detail {
        let sources = SettingSources {
            annotated: &|name| self.target.annotations.contains_key(name),
            config,
            defaults: &Config::default(),
        };
        let workload = self.workload.as_ref();
        Detail {
            workload: self.view(routing),
            settings: workload
                .map(|workload| settings(workload.settings(), &sources))
                .unwrap_or_default(),
            decisions: self.memory.decisions(),
            history: self.memory.history(),
        }
    }

    /// Returns the view of the workload for the status page, the API and metrics. `routing`: the routing state; `None`
    /// without activators.
    pub(super) fn view(&self, routing: Option<&ServiceRouting>) -> Workload {
        let key = &self.target.key;
        let last = self.last.as_ref();
        let settings = self.workload.as_ref().map(|workload| workload.settings());
        let averages = last.and_then(|last| last.decision.averages);
        let without_metrics = last.map_or(&[][..], |last| &last.without_metrics);
        let mode = match self.recommends() {
            _ if self.refusal.is_some() => "not_scaled",
            _ if self.is_paused() => "paused",
            false => "act",
            true => "recommend",
        };
        Workload {
            namespace: key.namespace.to_string(),
            kind: key.kind.to_string(),
            group: key.group.to_string(),
            name: key.name.to_string(),
            mode: mode.into(),
            not_scaled: self.refusal.as_ref().map(|refusal| refusal.note.clone()),
            requested_replicas: self.target.replicas,
            ready_replicas: last.and_then(|last| last.facts.ready),
            desired_replicas: last
                .and_then(|last| last.decision.step.want.or(last.decision.desired)),
            reason: last.map(|last| last.decision.reason.to_string()),
            decided_at: last.map(|last| seconds(last.decision.at.since_epoch())),
            metric: settings.map(|settings| match settings.metric {
                Metric::Rps => "rps".into(),
                Metric::Concurrency | Metric::Named(_) => "concurrency".into(),
            }),
            target: settings.map(|settings| settings.target),
            stable: averages.map(|averages| averages.stable),
            panic: averages.map(|averages| averages.panic),
            panic_mode: last.is_some_and(|last| last.decision.panic_mode),
            excess_burst_capacity: last.map(|last| last.decision.excess_burst_capacity),
            in_flight: last.map_or(0, |last| last.in_flight),
            opaque: last.map_or(0, |last| last.opaque),
            queued: last.map_or(0, |last| last.queued),
            hard_limit: Some(self.hard_limit()).filter(|&limit| limit > 0),
            services: routing.map_or_else(Vec::new, |routing| routing.services(self)),
            activator_in_path: routing.is_some()
                && self.activators.is_some_and(|need| need.in_path),
            path_confirmed: routing.is_some() && self.path_confirmed_since.is_some(),
            pods_without_metrics: without_metrics.len(),
            without_metrics: without_metrics
                .iter()
                .take(NAMED)
                .map(|name| name.to_string())
                .collect(),
            counted_at: last.map_or_else(Vec::new, |last| {
                let at = last.counted.at.iter();
                at.map(|(choice, pods)| CountedAt {
                    hop: choice.hop.to_string(),
                    reason: choice.reason.to_string(),
                    ports: choice.ports.clone(),
                    only_inside: choice.only_inside,
                    pods: *pods,
                    text: choice.to_string(),
                    advice: choice.advice(),
                })
                .collect()
            }),
            not_counted: last.map_or_else(Vec::new, |last| {
                let not = last.counted.not.iter();
                not.map(|(pod, why)| NotCounted {
                    pod: pod.to_string(),
                    why: why.to_string(),
                })
                .collect()
            }),
            unknown: self
                .unknown
                .as_ref()
                .map(|(unknown, _)| ebb_page_model::Unknown {
                    what: unknown.label().into(),
                    why: unknown.to_string(),
                }),
            scaled: self.written.as_ref().map(|written| Scaled {
                at: seconds(written.at.since_epoch()),
                from: written.order.from,
                to: written.order.to,
                reason: written.order.reason.clone(),
                error: written.error.clone(),
            }),
        }
    }
}

/// Returns the time in seconds, rounded down to milliseconds, so that the number is printed with few digits.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}
