//! All workloads: their states, the cluster-wide settings, and the time of the next decision for each workload.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

use ebb_autoscaler_core::{Config, Timestamp};
use ebb_page_model::Name;

use super::{
    effect::{Notice, Order},
    limit::NamespaceLimit,
    names::{TargetKey, WorkloadId},
    outbox::Outbox,
    target::TargetFacts,
    workload_state::{Refusal, ScaleWrite, WorkloadState},
};

/// Maximum number of workloads for which one call makes decisions. With this number, the call takes half a millisecond.
/// Thousands of workloads can be due at once (one namespace can create thousands), and their decisions must not delay
/// the reports of other namespaces.
const AT_A_TIME: usize = 64;

/// The workloads of the cluster.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    /// Whether Ebb only recommends replicas for all workloads, whatever their annotations say.
    pub(super) recommend_only: bool,
    /// Cluster-wide settings; `None` until valid settings are known. No decision is made without settings, because the
    /// user may have set values other than the defaults.
    config: Option<Config>,
    next_id: u64,
    ids: HashMap<TargetKey, WorkloadId>,
    /// The values are boxed to save memory: a tree node has room for eleven values, and about half of this room stays
    /// empty because ids are inserted in ascending order.
    states: BTreeMap<WorkloadId, Box<WorkloadState>>,
    /// Time of the next decision for each workload. The times are stored apart from `states`, because the search for
    /// due decisions reads all times.
    due: BTreeMap<WorkloadId, Timestamp>,
    pub(super) limit: NamespaceLimit,
    /// Names of the conflicting autoscalers of each target.
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

    /// Returns the workload with this namespace, name and kind. The kind may include the API group, as in
    /// `Deployment.apps`.
    pub(super) fn named(&self, of: &Name) -> Option<&WorkloadState> {
        match of.kind.split_once('.') {
            Some((kind, group)) => self.find(&TargetKey::new(group, kind, &of.namespace, &of.name)),
            None => self.iter().find(|entry| {
                let key = &entry.target.key;
                *key.namespace == *of.namespace && *key.name == *of.name && *key.kind == *of.kind
            }),
        }
    }

    /// Returns all workloads, ordered by id.
    pub(super) fn iter(&self) -> impl Iterator<Item = &WorkloadState> {
        self.states.values().map(Box::as_ref)
    }

    /// Returns at most `most` workloads whose ids follow `after`, ordered by id; `None`: from the first workload.
    pub(super) fn after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = &WorkloadState> {
        let from = after.map_or(Unbounded, Excluded);
        let states = self.states.range((from, Unbounded)).take(most);
        states.map(|(_, entry)| entry.as_ref())
    }

    /// Adds a workload, whose first decision is due at once.
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

    /// Processes new cluster-wide settings.
    pub(super) fn configure(&mut self, now: Timestamp, config: Config, outbox: &mut Outbox) {
        self.config = Some(config);
        for id in self.states.keys().copied().collect::<Vec<_>>() {
            self.validate(now, id, outbox);
        }
    }

    /// Validates the annotations of a workload. If the settings have changed, a decision is due at once. If the
    /// workload is no longer scaled, an Event reports the reason.
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

    /// Called after a change of leadership. Ends all pending scale orders, because an order from before the change is
    /// not carried out. Publishes an Event for every workload that is not scaled, because a new leader does not know
    /// which of these Events the previous leader published. The Events API counts repeated Events as one series.
    pub(super) fn lead(&mut self, outbox: &mut Outbox) {
        for entry in self.states.values_mut() {
            entry.ordered = None;
            publish_refusal(entry, outbox);
        }
    }

    /// Records that a conflicting autoscaler scales `target` from now on. Returns the workload if this conflict is new.
    pub(super) fn conflict_seen(&mut self, target: &TargetKey, name: String) -> Option<WorkloadId> {
        let names = self.conflicts.entry(target.clone()).or_default();
        let is_new = names.insert(name);
        self.ids.get(target).copied().filter(|_| is_new)
    }

    /// Records that a conflicting autoscaler no longer scales `target`. Returns the workload of `target`.
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

    /// Schedules the next decision at `at`, and replaces the time that was scheduled before.
    pub(super) fn reschedule(&mut self, id: WorkloadId, at: Timestamp) {
        self.due.insert(id, at);
    }

    /// Schedules a decision at the earliest allowed time. Returns whether the decision is due now.
    pub(super) fn request_decision(&mut self, now: Timestamp, id: WorkloadId) -> bool {
        let Some(entry) = self.states.get(&id) else {
            return false;
        };
        let earliest = entry.earliest(now);
        self.schedule_at(id, earliest) <= now
    }

    /// Returns at most [`AT_A_TIME`] workloads whose decisions are due.
    pub(super) fn due(&self, now: Timestamp) -> Vec<WorkloadId> {
        let due = self.due.iter().filter(|(_, due)| **due <= now);
        due.map(|(id, _)| *id).take(AT_A_TIME).collect()
    }

    /// Returns the time of the next decision for any workload.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.values().copied().min()
    }

    /// Prepares a decision for a workload, schedules the following decision, and returns the workload. `can_be_queued`:
    /// whether the activators can queue every request to the workload. The settings depend on this value, so the
    /// annotations are validated again if it has changed.
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

    /// Records that the API server has carried out a scale order, or that the order has failed with `error`. After an
    /// error, the next decision creates a new order.
    pub(super) fn written(&mut self, now: Timestamp, order: Order, error: Option<String>) {
        let Some(entry) = self.get_mut(order.workload) else {
            return;
        };
        entry.end_order(order.to);
        // The written replicas and the new `resourceVersion` are recorded before the watch reports them, so that the
        // same scale order is not created again. If the watch has reported a change since the decision, the reported
        // state is at least as new as this write, and nothing is recorded here: with an older `resourceVersion`, the
        // API server would refuse every further write.
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

    /// Records that the API server refused a scale order because the object has changed since the decision. Returns
    /// whether the watch has already reported the change.
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
