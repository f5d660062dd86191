//! The state of all workloads of a cluster: facts and reports go in, scale orders and Events come out.
//!
//! The engine does no I/O, reads no clock and starts no task. The caller passes each fact with the time, and takes out
//! what is to be done as [`Effect`]s. One engine behind one lock holds all workloads, because one report touches some
//! thirty pods, and ten thousand separate loops would mostly wake up for nothing. A cluster's
//! autoscaler and `ebb run` use the same engine.
//!
//! Bias: no data is not zero. A pod that may be serving and has no current metrics keeps its last figures, and its
//! workload does not shrink.

mod clock;
mod decide;
mod decision_counts;
mod effect;
mod entry;
mod facts;
mod leaving;
mod limit;
mod names;
mod owners;
mod pod;
mod pods;
mod queueing;
mod reports;
mod routing;
mod scale_down_candidates;
mod sender;
mod series;
mod target;
mod unknown;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ebb_autoscaler_core::{Config, Timestamp};

/// One workload, as the status page and the API show it.
pub use ebb_page_model::Workload as WorkloadView;

pub use self::{
    clock::Clock,
    decision_counts::DecisionCounts,
    effect::{DeletionCost, Effect, Notice, Order},
    names::{Owner, TargetKey, WorkloadId},
    owners::{Dead, Followed},
    pod::PodFacts,
    queueing::Queueing,
    reports::Scope,
    routing::{
        DesiredSlice, ObservedSlice, Outcome, Path, RecordChange, RoutingFigures, ServiceFacts,
    },
    target::{TargetFacts, opted_in},
    unknown::Unknown,
    view::Figures,
};
use self::{
    entry::{Refusal, WorkloadState},
    limit::{BeyondLimit, MostWorkloads},
    owners::Owners,
    pods::Pods,
    routing::ServiceRouting,
    sender::Sender,
};

/// Senders without a report for this long are removed: nodes come and go.
const FORGET_SENDER_AFTER: Duration = Duration::from_secs(3600);

/// The state of the autoscaler for the whole cluster.
#[derive(Debug, Default)]
pub struct Engine {
    queueing: Queueing,
    recommend_only: bool,
    leading: bool,
    /// `None` until a valid one is known. Until then nothing is decided, because the defaults may not be what the user
    /// has set.
    config: Option<Config>,
    deciding: bool,
    next_id: u64,
    ids: HashMap<TargetKey, WorkloadId>,
    /// Boxed: a node of the tree has room for eleven values, and about half of them stay empty because ids are inserted
    /// in ascending order.
    entries: BTreeMap<WorkloadId, Box<WorkloadState>>,
    /// When each workload is decided next. Kept apart from `entries`, because every round reads all of these times.
    due: BTreeMap<WorkloadId, Timestamp>,
    pods: Pods,
    /// The owners of pods, and the workloads that they lead to.
    owners: Owners,
    /// Opted-in objects that another object controls, and to which neither a pod nor a slice has led yet.
    not_led_to: HashMap<TargetKey, TargetFacts>,
    /// Workloads that Ebb's slices name, and what the API server says about them; `None`: not answered yet.
    led_by_slices: HashMap<TargetKey, Option<Followed>>,
    /// During the start: objects at zero that have not opted in, until it is known which of them Ebb scaled to zero.
    opted_out_at_zero: HashMap<TargetKey, TargetFacts>,
    /// Group and kind of the objects whose initial list is complete.
    listed: HashSet<(Box<str>, Box<str>)>,
    /// Most workloads that one namespace may have.
    most_workloads: MostWorkloads,
    /// Workloads beyond that limit.
    beyond_limit: BeyondLimit,
    senders: HashMap<Box<str>, Sender>,
    /// Conflicting autoscalers of each target, by name.
    conflicts: HashMap<TargetKey, BTreeSet<String>>,
    /// How requests reach each workload: directly, or through the activators.
    routing: ServiceRouting,
    effects: Vec<Effect>,
    decisions: DecisionCounts,
    /// Why the facts from the API server are stale; `None`: they are current.
    stale_facts: Option<Arc<str>>,
    /// Why the facts about one kind are stale, by group and kind.
    stale_kinds: HashMap<(Box<str>, Box<str>), Arc<str>>,
}

impl Engine {
    /// Creates an engine that knows nothing yet.
    #[must_use]
    pub fn new(queueing: Queueing) -> Self {
        Self {
            queueing,
            ..Self::default()
        }
    }

    /// Makes the engine decide and report, and never scale, whatever the workloads ask for.
    #[must_use]
    pub fn recommending(mut self) -> Self {
        self.recommend_only = true;
        self
    }

    /// Takes out the effects since the last call.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Sets whether this replica leads. A replica that does not lead still decides, but gives out no orders.
    pub fn lead(&mut self, leading: bool) {
        self.leading = leading;
        for entry in self.entries.values_mut() {
            // An order that is still open when leadership changes is never carried out.
            entry.ordered = None;
        }
        if leading {
            // This replica does not know what the last leader reported, so it reports every refusal again. The Events
            // API counts repeated Events as one series.
            for id in self.entries.keys().copied().collect::<Vec<_>>() {
                self.publish_refusal(id);
            }
        }
    }

    /// Begins to decide. To be called when the initial lists of all watches are complete.
    pub fn begin(&mut self, now: Timestamp) {
        self.take_on_opted_out(now);
        self.deciding = true;
    }

    /// Sets why the facts from the API server are stale; `None`: they are current. While they are stale, nothing
    /// shrinks.
    pub fn facts_are(&mut self, stale: Option<String>) {
        self.stale_facts = stale.map(Arc::from);
    }

    /// Sets why the facts about the objects of one kind are stale. Only workloads of that kind depend on them.
    pub fn kind_facts_are(&mut self, group: &str, kind: &str, stale: Option<String>) {
        let key = (group.into(), kind.into());
        match stale {
            None => self.stale_kinds.remove(&key),
            Some(why) => self.stale_kinds.insert(key, why.into()),
        };
    }

    /// Returns why the facts about a workload may be stale; `None`: they are current.
    #[must_use]
    pub fn stale_facts(&self, of: &TargetKey) -> Option<Arc<str>> {
        let of_kind = || match self.stale_kinds.is_empty() {
            true => None,
            false => self.stale_kinds.get(&(of.group.clone(), of.kind.clone())),
        };
        self.stale_facts.as_ref().or_else(of_kind).cloned()
    }

    /// Takes in new cluster-wide settings.
    pub fn configure(&mut self, now: Timestamp, config: Config) {
        self.config = Some(config);
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.validate(now, id);
        }
    }

    /// Removes senders without a report for an hour.
    pub fn sweep(&mut self, now: Timestamp) {
        self.senders
            .retain(|_, sender| now.since(sender.last_report) < FORGET_SENDER_AFTER);
        self.routing.sweep(now, FORGET_SENDER_AFTER);
        let named: HashSet<_> = self.routing.workloads().collect();
        self.led_by_slices.retain(|key, _| named.contains(key));
    }

    fn validate(&mut self, now: Timestamp, id: WorkloadId) {
        let (Some(config), Some(entry)) = (&self.config, self.entries.get_mut(&id)) else {
            return;
        };
        let conflicts = self.conflicts.get(&entry.target.key);
        let conflicts = conflicts.map(|names| {
            names
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" and ")
        });
        let changed = entry.validate(now, config, conflicts.as_deref());
        if changed.settings {
            self.schedule_at(id, now);
        }
        if changed.refusal {
            self.publish_refusal(id);
        }
    }

    fn publish_refusal(&mut self, id: WorkloadId) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        if let (true, Some(Refusal { reason, note })) = (self.leading, &entry.refusal) {
            self.effects.push(Effect::Say(Notice {
                about: entry.target.key.clone(),
                uid: entry.target.uid.clone(),
                warning: true,
                reason,
                note: note.clone(),
            }));
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
