//! Views of the engine's state, for the page, the API and metrics.

use std::{
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use ebb_autoscaler_core::{Config, Decision, Metric, Timestamp, annotations::Mode};
use ebb_page_model::{Detail, Given, Name, Scaled, Workload, settings};

use super::{
    Engine, TargetKey, WorkloadId, decision_counts::DecisionCounts, entry::WorkloadState,
    series::STALE_AFTER,
};

/// Most pods without current metrics that are listed by name; a count covers all of them.
const NAMED: usize = 10;

/// Figures over all workloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Number of workloads.
    pub workloads: usize,
    /// Workloads beyond the limits of their namespaces.
    pub beyond_limit: usize,
    /// Number of known pods.
    pub pods: usize,
    /// Senders with a report in the last hour.
    pub senders: usize,
    /// Senders whose last report is too old.
    pub stale_senders: usize,
    /// Activators with a current report.
    pub activators: usize,
    /// Activators that reported within the last hour and have no current report.
    pub stale_activators: usize,
    /// Longest delay of the last report, over the senders with a current report.
    pub lag: Duration,
    /// Decisions so far.
    pub decisions: DecisionCounts,
}

/// Sizes of the engine's collections.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) workloads: usize,
    pub(super) due: usize,
    pub(super) pods: usize,
    pub(super) owners: usize,
}

impl Engine {
    /// Returns all workloads, by id.
    pub fn views(&self) -> impl Iterator<Item = Workload> + '_ {
        self.entries.values().map(|entry| self.view(entry))
    }

    /// Returns at most `most` workloads after the one with the id `after`, by id; from the first one on if there is no
    /// id.
    pub fn views_after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = (WorkloadId, Workload)> + '_ {
        let from = after.map_or(Unbounded, Excluded);
        let entries = self.entries.range((from, Unbounded)).take(most);
        entries.map(|(id, entry)| (*id, self.view(entry)))
    }

    /// Like `views_after`, for metrics: `None` for a workload that somebody else scaled to zero and that Ebb
    /// leaves alone. Thousands of such workloads must not make a scrape long.
    pub fn measured_views_after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = (WorkloadId, Option<Workload>)> + '_ {
        let from = after.map_or(Unbounded, Excluded);
        let entries = self.entries.range((from, Unbounded)).take(most);
        entries.map(|(id, entry)| {
            let is_left_alone = entry.is_paused() && entry.refusal.is_none();
            (*id, (!is_left_alone).then(|| self.view(entry)))
        })
    }

    /// Returns the last decision about a workload; `None` before the first one.
    #[must_use]
    pub fn decision(&self, of: &TargetKey) -> Option<&Decision> {
        let entry = self.entries.get(self.ids.get(of)?)?;
        entry.last.as_ref().map(|last| &last.decision)
    }

    /// Returns all that is known about one workload.
    #[must_use]
    pub fn detail(&self, of: &Name) -> Option<Detail> {
        let entry = match of.kind.split_once('.') {
            Some((kind, group)) => {
                let key = TargetKey::new(group, kind, &of.namespace, &of.name);
                self.entries.get(self.ids.get(&key)?)?
            }
            None => self.entries.values().find(|entry| {
                let key = &entry.target.key;
                *key.namespace == *of.namespace && *key.name == *of.name && *key.kind == *of.kind
            })?,
        };
        let config = self.config.as_ref()?;
        let given = Given {
            annotated: &|name| entry.target.annotations.contains_key(name),
            config,
            defaults: &Config::default(),
        };
        let workload = entry.workload.as_ref();
        Some(Detail {
            workload: self.view(entry),
            settings: workload
                .map(|workload| settings(workload.settings(), &given))
                .unwrap_or_default(),
            decisions: entry.memory.decisions(),
            history: entry.memory.history(),
        })
    }

    /// Returns the figures over all workloads.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        let (stale, current): (Vec<_>, Vec<_>) = self
            .senders
            .values()
            .partition(|sender| now.since(sender.last_report) > STALE_AFTER);
        let lag = current.iter().map(|sender| sender.lag).max();
        let (activators, stale_activators) = self.routing.count(now);
        Figures {
            activators,
            stale_activators,
            workloads: self.entries.len(),
            beyond_limit: self.beyond_limit.len(),
            pods: self.pods.len(),
            senders: self.senders.len(),
            stale_senders: stale.len(),
            lag: lag.unwrap_or_default(),
            decisions: self.decisions,
        }
    }

    /// Returns the sizes of the collections, for a test that compares them with the cluster.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            workloads: self.entries.len(),
            due: self.due.len(),
            pods: self.pods.len(),
            owners: self.owners.len(),
        }
    }

    fn view(&self, entry: &WorkloadState) -> Workload {
        let key = &entry.target.key;
        let last = entry.last.as_ref();
        let settings = entry.workload.as_ref().map(|workload| workload.settings());
        let averages = last.and_then(|last| last.decision.averages);
        let without_metrics = last.map_or(&[][..], |last| &last.without_metrics);
        let mode = match entry.mode {
            _ if entry.refusal.is_some() => "not_scaled",
            _ if entry.is_paused() => "paused",
            Mode::Act if !self.recommend_only => "act",
            Mode::Act | Mode::Recommend => "recommend",
        };
        Workload {
            namespace: key.namespace.to_string(),
            kind: key.kind.to_string(),
            group: key.group.to_string(),
            name: key.name.to_string(),
            mode: mode.into(),
            not_scaled: entry.refusal.as_ref().map(|refusal| refusal.note.clone()),
            requested_replicas: entry.target.replicas,
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
            hard_limit: Some(entry.hard_limit()).filter(|&limit| limit > 0),
            services: match self.queueing.has_activators() {
                true => self.routing.services(entry),
                false => Vec::new(),
            },
            activator_in_path: self.queueing.has_activators()
                && entry.proxy.is_some_and(|(proxy, _)| proxy),
            path_confirmed: self.queueing.has_activators() && entry.path_confirmed_since.is_some(),
            pods_without_metrics: without_metrics.len(),
            without_metrics: without_metrics
                .iter()
                .take(NAMED)
                .map(|name| name.to_string())
                .collect(),
            unknown: entry
                .unknown
                .as_ref()
                .map(|(unknown, _)| ebb_page_model::Unknown {
                    what: unknown.label().into(),
                    why: unknown.to_string(),
                }),
            scaled: entry.written.as_ref().map(|written| Scaled {
                at: seconds(written.at.since_epoch()),
                from: written.order.from,
                to: written.order.to,
                reason: written.order.reason.clone(),
                error: written.error.clone(),
            }),
        }
    }
}

/// Seconds, in whole milliseconds: more precision is of no use, and the number prints short.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}
