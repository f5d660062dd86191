//! All workloads of a cluster: facts and reports go in, orders come out.
//!
//! No I/O, no clock, no tasks: every fact is told, with the time, and what is wanted done is taken out as
//! [`Effect`]s. One engine holds everything behind one lock, because a report touches some thirty pods and ten
//! thousand loops of their own would wake up for nothing most of the time; so this is the cluster's counterpart of
//! [`crate::Autoscaler`], which is one workload's loop. The decisions are the same code.
//!
//! Bias: no data is not zero. A pod that may be serving and is not heard of keeps its last figures, and its workload
//! does not shrink.

mod decide;
mod effect;
mod entry;
mod facts;
mod front;
mod leaving;
mod limit;
mod names;
mod owners;
mod pod;
mod pods;
mod reports;
mod sender;
mod series;
mod tally;
mod target;
mod unknown;
mod victims;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ebb_autoscaler_core::{Config, Timestamp};

/// One workload, as it is shown.
pub use ebb_page::Workload as WorkloadView;

pub use self::{
    effect::{DeletionCost, Effect, Notice, Order},
    front::{FrontFigures, Outcome, Path, RecordChange, ServiceFacts, Wish, Written},
    names::{Owner, TargetKey, WorkloadId},
    owners::{Dead, Followed},
    pod::PodFacts,
    reports::Scope,
    tally::Tally,
    target::{TargetFacts, opted_in},
    unknown::Unknown,
    view::Figures,
};
use self::{
    entry::{Entry, Refusal},
    front::Fronts,
    limit::{BeyondLimit, MostWorkloads},
    owners::Owners,
    pods::Pods,
    sender::Sender,
};

/// Senders not heard of for this long are forgotten: nodes come and go.
const FORGET_SENDER_AFTER: Duration = Duration::from_secs(3600);

/// The state of the autoscaler.
#[derive(Debug, Default)]
pub struct Engine {
    activator: bool,
    recommend_only: bool,
    leading: bool,
    /// `None` until a good one is known: nobody asked for decisions by other settings.
    config: Option<Config>,
    deciding: bool,
    next_id: u64,
    ids: HashMap<TargetKey, WorkloadId>,
    /// Each in a place of its own: the tree's nodes have room for eleven, half of which is empty as they come in order.
    entries: BTreeMap<WorkloadId, Box<Entry>>,
    /// When to decide next: of each entry, and apart from it, as every round looks at all of them.
    due: BTreeMap<WorkloadId, Timestamp>,
    pods: Pods,
    /// The owners of pods, and what they lead to.
    owners: Owners,
    /// Opted-in objects that others control, and to which neither a pod nor a slice has led yet.
    not_led_to: HashMap<TargetKey, TargetFacts>,
    /// Workloads that slices of ours name, and what the API server says of them; `None`: not answered yet.
    led_by_slices: HashMap<TargetKey, Option<Followed>>,
    /// At the start: objects at zero that do not ask to be scaled, until it is known which of them Ebb scaled there.
    opted_out_at_zero: HashMap<TargetKey, TargetFacts>,
    /// Group and kind of the objects that have all been told once.
    listed: HashSet<(Box<str>, Box<str>)>,
    /// Most workloads of a namespace.
    most_workloads: MostWorkloads,
    /// Those that do not fit.
    beyond_limit: BeyondLimit,
    senders: HashMap<Box<str>, Sender>,
    /// Who else scales what.
    rivals: HashMap<TargetKey, BTreeSet<String>>,
    /// How requests come to workloads.
    fronts: Fronts,
    effects: Vec<Effect>,
    decisions: Tally,
    /// Why what the API server tells is out of date, if it is.
    stale_facts: Option<Arc<str>>,
    /// The same for the objects of one kind, by group and kind.
    stale_kinds: HashMap<(Box<str>, Box<str>), Arc<str>>,
}

impl Engine {
    /// An engine that knows nothing. `activator`: whether one is there to hold requests, so that a workload may have
    /// no pod.
    #[must_use]
    pub fn new(activator: bool) -> Self {
        Self {
            activator,
            ..Self::default()
        }
    }

    /// Decides and tells, and orders nothing, whatever workloads ask for.
    #[must_use]
    pub fn recommending(mut self) -> Self {
        self.recommend_only = true;
        self
    }

    /// What is to be done since this was last asked.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether this replica acts. One that does not decides all the same, and keeps its orders to itself.
    pub fn lead(&mut self, leading: bool) {
        self.leading = leading;
        for entry in self.entries.values_mut() {
            // What is not carried out by now will not be.
            entry.ordered = None;
        }
        if leading {
            // What the last leader told is not known here: refusals are told again, which Events count as one series.
            for id in self.entries.keys().copied().collect::<Vec<_>>() {
                self.tell_refusal(id);
            }
        }
    }

    /// Begins to decide: all watches have told what there is.
    pub fn begin(&mut self, now: Timestamp) {
        self.take_on_opted_out(now);
        self.deciding = true;
    }

    /// Whether what the API server tells is up to date; if not, why not. Out of date, nothing shrinks.
    pub fn facts_are(&mut self, stale: Option<String>) {
        self.stale_facts = stale.map(Arc::from);
    }

    /// The same for the objects of one kind: only workloads of that kind rest on it.
    pub fn kind_facts_are(&mut self, group: &str, kind: &str, stale: Option<String>) {
        let key = (group.into(), kind.into());
        match stale {
            None => self.stale_kinds.remove(&key),
            Some(why) => self.stale_kinds.insert(key, why.into()),
        };
    }

    /// Why what is known of a workload may be out of date; `None`: it is not.
    #[must_use]
    pub fn stale_facts(&self, of: &TargetKey) -> Option<Arc<str>> {
        let of_kind = || match self.stale_kinds.is_empty() {
            true => None,
            false => self.stale_kinds.get(&(of.group.clone(), of.kind.clone())),
        };
        self.stale_facts.as_ref().or_else(of_kind).cloned()
    }

    /// The cluster's settings have changed.
    pub fn configure(&mut self, now: Timestamp, config: Config) {
        self.config = Some(config);
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            self.judge(now, id);
        }
    }

    /// Forgets senders that have not been heard of for an hour.
    pub fn sweep(&mut self, now: Timestamp) {
        self.senders
            .retain(|_, sender| now.since(sender.heard) < FORGET_SENDER_AFTER);
        self.fronts.sweep(now, FORGET_SENDER_AFTER);
        let named: HashSet<_> = self.fronts.workloads().collect();
        self.led_by_slices.retain(|key, _| named.contains(key));
    }

    fn judge(&mut self, now: Timestamp, id: WorkloadId) {
        let (Some(config), Some(entry)) = (&self.config, self.entries.get_mut(&id)) else {
            return;
        };
        let rivals = self.rivals.get(&entry.target.key);
        let rivals = rivals.map(|names| {
            names
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" and ")
        });
        let changed = entry.judge(now, config, rivals.as_deref());
        if changed.settings {
            self.sooner(id, now);
        }
        if changed.refusal {
            self.tell_refusal(id);
        }
    }

    fn tell_refusal(&mut self, id: WorkloadId) {
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
