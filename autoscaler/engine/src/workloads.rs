//! All workloads: their states, the settings that all of them share, and when each of them is decided next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

use ebb_autoscaler_core::{Config, Timestamp};
use ebb_page_model::Name;

use super::{
    effect::{Notice, Order},
    entry::{Refusal, ScaleWrite, WorkloadState},
    limit::NamespaceLimit,
    names::{TargetKey, WorkloadId},
    outbox::Outbox,
    target::TargetFacts,
};

/// Most workloads that are decided in one call, which takes half a millisecond. Thousands of workloads can be due at
/// once (one namespace can create them), and they must not delay the reports of others.
const AT_A_TIME: usize = 64;

/// The workloads of the cluster.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    /// Whether none of them is scaled, whatever it asks for.
    pub(super) recommend_only: bool,
    /// `None` until a valid one is known. Until then nothing is decided, because the defaults may not be what the user
    /// has set.
    config: Option<Config>,
    next_id: u64,
    ids: HashMap<TargetKey, WorkloadId>,
    /// Boxed: a node of the tree has room for eleven values, and about half of them stay empty because ids are inserted
    /// in ascending order.
    states: BTreeMap<WorkloadId, Box<WorkloadState>>,
    /// When each workload is decided next. Kept apart from `states`, because every round reads all of these times.
    due: BTreeMap<WorkloadId, Timestamp>,
    pub(super) limit: NamespaceLimit,
    /// Conflicting autoscalers of each target, by name.
    conflicts: HashMap<TargetKey, BTreeSet<String>>,
}

impl Workloads {
    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// Returns the number of scheduled decisions.
    #[cfg(test)]
    pub(super) fn scheduled(&self) -> usize {
        self.due.len()
    }

    pub(super) fn get(&self, id: WorkloadId) -> Option<&WorkloadState> {
        self.states.get(&id).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, id: WorkloadId) -> Option<&mut WorkloadState> {
        self.states.get_mut(&id).map(Box::as_mut)
    }

    /// Returns the workload with this key.
    pub(super) fn find(&self, key: &TargetKey) -> Option<&WorkloadState> {
        self.get(*self.ids.get(key)?)
    }

    /// Returns the workload with this key.
    pub(super) fn find_mut(&mut self, key: &TargetKey) -> Option<&mut WorkloadState> {
        self.get_mut(*self.ids.get(key)?)
    }

    /// Returns the workload with this name, and with this kind, which may name its group as well.
    pub(super) fn named(&self, of: &Name) -> Option<&WorkloadState> {
        match of.kind.split_once('.') {
            Some((kind, group)) => self.find(&TargetKey::new(group, kind, &of.namespace, &of.name)),
            None => self.iter().find(|entry| {
                let key = &entry.target.key;
                *key.namespace == *of.namespace && *key.name == *of.name && *key.kind == *of.kind
            }),
        }
    }

    /// Returns all workloads, by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &WorkloadState> {
        self.states.values().map(Box::as_ref)
    }

    /// Returns at most `most` workloads after the one with the id `after`, by id; from the first one on if there is no
    /// id.
    pub(super) fn after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = &WorkloadState> {
        let from = after.map_or(Unbounded, Excluded);
        let states = self.states.range((from, Unbounded)).take(most);
        states.map(|(_, entry)| entry.as_ref())
    }

    /// Adds a workload, which is due at once.
    pub(super) fn add(&mut self, now: Timestamp, facts: TargetFacts) -> &mut WorkloadState {
        let id = WorkloadId(self.next_id);
        self.next_id += 1;
        self.ids.insert(facts.key.clone(), id);
        self.due.insert(id, now);
        let state = WorkloadState::new(id, facts, self.recommend_only);
        self.states.entry(id).or_insert(Box::new(state))
    }

    /// Removes a workload.
    pub(super) fn remove(&mut self, key: &TargetKey) -> Option<Box<WorkloadState>> {
        let id = self.ids.remove(key)?;
        self.due.remove(&id);
        self.states.remove(&id)
    }

    /// Takes in new cluster-wide settings.
    pub(super) fn configure(&mut self, now: Timestamp, config: Config, outbox: &mut Outbox) {
        self.config = Some(config);
        for id in self.states.keys().copied().collect::<Vec<_>>() {
            self.validate(now, id, outbox);
        }
    }

    /// Validates the annotations of a workload. New settings are decided on at once, and an Event says why a workload
    /// is no longer scaled.
    pub(super) fn validate(&mut self, now: Timestamp, id: WorkloadId, outbox: &mut Outbox) {
        let (Some(config), Some(entry)) = (&self.config, self.states.get_mut(&id)) else {
            return;
        };
        let conflicts = self.conflicts.get(&entry.target.key);
        let conflicts = conflicts.map(|names| Vec::from_iter(names.iter().cloned()).join(" and "));
        let changed = entry.validate(now, config, conflicts.as_deref());
        if changed.refusal {
            publish_refusal(entry, outbox);
        }
        if changed.settings {
            self.schedule_at(id, now);
        }
    }

    /// Ends open orders after a change of leadership: they are never carried out. A new leader does not know what the
    /// last one reported, so it reports every refusal again. The Events API counts repeated Events as one series.
    pub(super) fn lead(&mut self, outbox: &mut Outbox) {
        for entry in self.states.values_mut() {
            entry.ordered = None;
            publish_refusal(entry, outbox);
        }
    }

    /// Takes in that a conflicting autoscaler scales `target` from now on. Returns the workload if this is new.
    pub(super) fn conflict_seen(&mut self, target: &TargetKey, name: String) -> Option<WorkloadId> {
        let names = self.conflicts.entry(target.clone()).or_default();
        let is_new = names.insert(name);
        self.ids.get(target).copied().filter(|_| is_new)
    }

    /// Takes in that a conflicting autoscaler no longer scales `target`. Returns the workload.
    pub(super) fn conflict_gone(&mut self, target: &TargetKey, name: &str) -> Option<WorkloadId> {
        let names = self.conflicts.get_mut(target)?;
        names.remove(name);
        if names.is_empty() {
            self.conflicts.remove(target);
        }
        self.ids.get(target).copied()
    }

    /// Schedules a decision at `at`, unless an earlier one is scheduled. Returns the scheduled time.
    pub(super) fn schedule_at(&mut self, id: WorkloadId, at: Timestamp) -> Timestamp {
        let due = self.due.entry(id).or_insert(at);
        *due = at.min(*due);
        *due
    }

    /// Schedules the next decision at `at`, whatever was scheduled before.
    pub(super) fn reschedule(&mut self, id: WorkloadId, at: Timestamp) {
        self.due.insert(id, at);
    }

    /// Schedules a decision as early as possible. Returns whether it is due now.
    pub(super) fn request_decision(&mut self, now: Timestamp, id: WorkloadId) -> bool {
        let Some(entry) = self.states.get(&id) else {
            return false;
        };
        let earliest = entry.earliest(now);
        self.schedule_at(id, earliest) <= now
    }

    /// Returns the workloads that are due, at most [`AT_A_TIME`] of them.
    pub(super) fn due(&self, now: Timestamp) -> Vec<WorkloadId> {
        let due = self.due.iter().filter(|(_, due)| **due <= now);
        due.map(|(id, _)| *id).take(AT_A_TIME).collect()
    }

    /// Returns when the next workload is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.values().copied().min()
    }

    /// Returns a workload that is about to be decided, after validating it again if `can_be_queued` has changed: the
    /// resolved settings depend on it. Schedules the decision after this one.
    pub(super) fn begin_decision(
        &mut self,
        now: Timestamp,
        id: WorkloadId,
        can_be_queued: bool,
        outbox: &mut Outbox,
    ) -> Option<&mut WorkloadState> {
        let entry = self.states.get_mut(&id)?;
        self.due.insert(id, entry.next(now, None));
        if std::mem::replace(&mut entry.can_be_queued, can_be_queued) != can_be_queued {
            self.validate(now, id, outbox);
        }
        self.get_mut(id)
    }

    /// Records the result of an order. What was not done is decided again with the next decision.
    pub(super) fn written(&mut self, now: Timestamp, order: Order, error: Option<String>) {
        let Some(entry) = self.get_mut(order.workload) else {
            return;
        };
        entry.end_order(order.to);
        // The watch will soon report the same state; until then nothing has to be ordered twice. If the watch has
        // reported a change since the decision, that change is this write or a later one, and an older version must not
        // overwrite it: every further write with it would be refused.
        if error.is_none() && entry.target.resource_version == order.resource_version {
            entry.target.replicas = order.to;
            if let Some(version) = &order.written_version {
                entry.target.resource_version.clone_from(version);
            }
        }
        entry.written = Some(ScaleWrite {
            at: now,
            order,
            error,
        });
    }

    /// Records that an order was refused because the object has changed since the decision. Returns whether the watch
    /// has already reported the change.
    pub(super) fn overtaken(&mut self, order: &Order) -> bool {
        let Some(entry) = self.get_mut(order.workload) else {
            return false;
        };
        entry.end_order(order.to);
        entry.overtaken = entry.target.resource_version == order.resource_version;
        !entry.overtaken
    }
}

/// Publishes an Event about a workload that is not scaled.
fn publish_refusal(entry: &WorkloadState, outbox: &mut Outbox) {
    if let (true, Some(Refusal { reason, note })) = (outbox.is_leading(), &entry.refusal) {
        outbox.say(Notice {
            about: entry.target.key.clone(),
            uid: entry.target.uid.clone(),
            warning: true,
            reason,
            note: note.clone(),
        });
    }
}
