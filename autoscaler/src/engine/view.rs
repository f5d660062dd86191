//! What the engine sees and has decided, to be shown.

use std::{
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use ebb_autoscaler_core::{Config, Metric, Timestamp, annotations::Mode};
use ebb_page::{Detail, Given, Name, Scaled, Workload, settings};

use super::{Engine, TargetKey, WorkloadId, entry::Entry, series::SILENT_AFTER, tally::Tally};

/// Silent pods that are named; the rest is a number.
const NAMED: usize = 10;

/// Figures over all workloads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Workloads.
    pub workloads: usize,
    /// Workloads beyond the limits of their namespaces.
    pub beyond_limit: usize,
    /// Pods known.
    pub pods: usize,
    /// Senders heard of lately.
    pub senders: usize,
    /// Senders that are silent.
    pub silent_senders: usize,
    /// Activators heard of.
    pub activators: usize,
    /// Activators that were heard of in the last hour and are silent.
    pub silent_activators: usize,
    /// The most that the last report of a sender that is not silent was late.
    pub lag: Duration,
    /// Decisions so far.
    pub decisions: Tally,
}

/// How much the engine keeps.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) workloads: usize,
    pub(super) due: usize,
    pub(super) pods: usize,
    pub(super) owners: usize,
}

impl Engine {
    /// All workloads, by number.
    pub fn views(&self) -> impl Iterator<Item = Workload> + '_ {
        self.entries.values().map(|entry| self.view(entry))
    }

    /// At most so many of the workloads after this one, by number; of the first where there is none.
    pub fn views_after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = (WorkloadId, Workload)> + '_ {
        let from = after.map_or(Unbounded, Excluded);
        let entries = self.entries.range((from, Unbounded)).take(most);
        entries.map(|(id, entry)| (*id, self.view(entry)))
    }

    /// The same for metrics: `None` for a workload that somebody scaled to zero and that Ebb leaves alone. Thousands of those
    /// must not make a scrape long.
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

    /// All that is known of one workload.
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

    /// Figures over all.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        let (silent, heard): (Vec<_>, Vec<_>) = self
            .senders
            .values()
            .partition(|sender| now.since(sender.heard) > SILENT_AFTER);
        let lag = heard.iter().map(|sender| sender.lag).max();
        let (activators, silent_activators) = self.fronts.count(now);
        Figures {
            activators,
            silent_activators,
            workloads: self.entries.len(),
            beyond_limit: self.beyond_limit.len(),
            pods: self.pods.len(),
            senders: self.senders.len(),
            silent_senders: silent.len(),
            lag: lag.unwrap_or_default(),
            decisions: self.decisions,
        }
    }

    /// How much is kept, for a test that holds it against what there is.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            workloads: self.entries.len(),
            due: self.due.len(),
            pods: self.pods.len(),
            owners: self.owners.len(),
        }
    }

    fn view(&self, entry: &Entry) -> Workload {
        let key = &entry.target.key;
        let last = entry.last.as_ref();
        let settings = entry.workload.as_ref().map(|workload| workload.settings());
        let averages = last.and_then(|last| last.decision.averages);
        let silent = last.map_or(&[][..], |last| &last.silent);
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
            queued: last.map_or(0, |last| last.held),
            hard_limit: Some(entry.hard_limit()).filter(|&limit| limit > 0),
            services: match self.activator {
                true => self.fronts.services(entry),
                false => Vec::new(),
            },
            activator_in_path: self.activator && entry.proxy.is_some_and(|(proxy, _)| proxy),
            path_confirmed: entry.in_place_since.is_some(),
            pods_without_metrics: silent.len(),
            without_metrics: silent
                .iter()
                .take(NAMED)
                .map(|name| name.to_string())
                .collect(),
            unknown: entry
                .unknown
                .as_ref()
                .map(|(unknown, _)| ebb_page::Unknown {
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

/// To the millisecond: nobody needs more, and it prints short.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}
