//! Facts from the API server: which objects have opted in, which pods exist, and which pod belongs to which workload.
//!
//! Facts may arrive in any order. A pod belongs to a workload once its owner references have been followed up to an
//! object that can be scaled. They are followed only where somebody opted in, so that the API server is not asked about
//! every owner of a cluster in which one namespace uses Ebb.

use std::sync::Arc;

use ebb_autoscaler_core::Timestamp;

use super::{
    Engine,
    effect::{Effect, Notice},
    entry::WorkloadState,
    names::{Owner, TargetKey, WorkloadId},
    owners::{Dead, Followed},
    pod::{Pod, PodFacts},
    pods::{PodId, Pods},
    target::TargetFacts,
};

impl Engine {
    /// Takes in a scalable object that is new or has changed.
    pub fn target_seen(&mut self, now: Timestamp, mut facts: TargetFacts) {
        if !facts.opted_in() {
            return self.target_opted_out(now, facts);
        }
        if let Some(id) = self.ids.get(&facts.key).copied() {
            let Some(entry) = self.entries.get_mut(&id) else {
                return;
            };
            if entry.target.uid == facts.uid {
                if facts.oversized > 0 {
                    // The valid values stay in force.
                    facts.annotations.clone_from(&entry.target.annotations);
                    facts.labels.clone_from(&entry.target.labels);
                }
                let revalidate = entry.target.annotations != facts.annotations
                    || entry.target.oversized != facts.oversized;
                let relabelled = entry.target.labels != facts.labels;
                let rescaled = entry.is_paused() && entry.target.replicas != facts.replicas;
                let opts_in_again = std::mem::take(&mut entry.is_leaving);
                if opts_in_again || entry.is_raised_by_others(now, facts.replicas) {
                    entry.is_unknown_again();
                }
                let changed = entry.target.resource_version != facts.resource_version;
                let anew = changed && std::mem::take(&mut entry.overtaken);
                entry.target = facts;
                if relabelled {
                    self.routing.workload_seen(id, entry);
                }
                if revalidate {
                    self.validate(now, id);
                }
                if anew {
                    self.request_decision(now, id);
                } else if rescaled {
                    self.schedule_at(id, now);
                }
                return;
            }
            // Another object with the same name.
            self.target_gone(now, &facts.key);
        }
        if facts.owned && !self.is_led_to(&facts.key) {
            self.not_led_to.insert(facts.key.clone(), facts);
            return;
        }
        self.take_on(now, facts);
    }

    /// Adds a workload.
    pub(super) fn take_on(&mut self, now: Timestamp, facts: TargetFacts) {
        let Some(facts) = self.within_limit(facts) else {
            return;
        };
        let id = WorkloadId(self.next_id);
        self.next_id += 1;
        let key = facts.key.clone();
        let mut entry = Box::new(WorkloadState::new(id, facts));
        join(&mut self.pods, &mut entry, self.owners.pods_of(&key));
        self.ids.insert(key.clone(), id);
        self.routing.workload_seen(id, &entry);
        self.entries.insert(id, entry);
        self.due.insert(id, now);
        for owner in self.owners.workload_comes(&key.namespace) {
            self.follow(&key.namespace, owner);
        }
        self.validate(now, id);
    }

    /// Takes in that a scalable object was deleted or has opted out.
    pub fn target_gone(&mut self, now: Timestamp, key: &TargetKey) {
        self.not_led_to.remove(key);
        self.beyond_limit.remove(key);
        self.opted_out_at_zero.remove(key);
        if let Some(named) = self.led_by_slices.get_mut(key) {
            *named = Some(Followed::Nowhere(Dead::Absent));
        }
        let Some(id) = self.ids.remove(key) else {
            return;
        };
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.due.remove(&id);
        self.routing.workload_gone(id, &key.namespace);
        for &pod in &entry.pods {
            if let Some(pod) = self.pods.get_mut(pod) {
                // The windows that the series belongs to no longer exist.
                pod.series = None;
                pod.workload = None;
            }
        }
        self.owners.workload_goes(&key.namespace);
        if let Some(next) = self.beyond_limit.next(&key.namespace) {
            self.target_seen(now, next);
        }
    }

    /// Takes in a pod that is new or has changed.
    pub fn pod_seen(&mut self, now: Timestamp, mut facts: PodFacts) {
        let known = self.pods.find(&facts.uid);
        if let Some(pod) = known.and_then(|id| self.pods.get_mut(id)) {
            if pod.facts.owner == facts.owner {
                let serves_now = facts.ready && !pod.facts.ready;
                // Keeps the allocation that pods of the same owner share.
                facts.owner = pod.facts.owner.take();
                pod.facts = facts;
                if let Some(workload) = pod.workload.filter(|_| serves_now) {
                    self.capacity_back(now, workload);
                }
                return;
            }
            // One owner released it and another one adopted it.
            self.pod_gone(&facts.uid);
        }
        let opted_in = facts.opted_in;
        let Some(owner) = facts.owner.take() else {
            if opted_in {
                let about = TargetKey::new("", "Pod", &facts.namespace, &facts.name);
                let note = format!("not scaled: no object that can be scaled owns {about}");
                self.say_unscalable(about, &facts.uid, note);
            }
            self.pods.insert(Pod::new(facts));
            return;
        };
        let namespace = facts.namespace.clone();
        let owner = self.owners.shared(&namespace, &owner);
        facts.owner = Some(Arc::clone(&owner));
        let id = self.pods.insert(Pod::new(facts));
        if let Some(owner) = self.owners.add(&namespace, &owner, id, opted_in) {
            self.follow(&namespace, owner);
        }
        let workload = self.owners.leads_to(&namespace, &owner);
        let workload = workload.and_then(|key| self.ids.get(key));
        if let Some(entry) = workload.and_then(|id| self.entries.get_mut(id)) {
            join(&mut self.pods, entry, [id]);
        }
    }

    /// Requests a decision after one more pod became ready: the activators may no longer be needed in the request path.
    fn capacity_back(&mut self, now: Timestamp, id: WorkloadId) {
        let proxied = self.entries.get(&id).and_then(|entry| entry.proxy);
        if self.queueing.has_activators() && proxied.is_some_and(|(proxied, _)| proxied) {
            self.request_decision(now, id);
        }
    }

    /// Takes in that a pod was deleted.
    pub fn pod_gone(&mut self, uid: &str) {
        let Some((id, pod)) = self.pods.remove(uid) else {
            return;
        };
        if let Some(entry) = pod.workload.and_then(|id| self.entries.get_mut(&id)) {
            entry.pods.remove(&id);
            if let (Some(workload), Some(series)) = (&mut entry.workload, pod.series) {
                workload.end(series.feed);
            }
        }
        if let Some(owner) = &pod.facts.owner {
            self.owners.remove(&pod.facts.namespace, owner, id);
        }
    }

    /// Takes in what the owner of pods in `namespace` leads to. A later call may replace the answer.
    pub fn followed(
        &mut self,
        now: Timestamp,
        namespace: &str,
        owner: &Arc<Owner>,
        followed: Followed,
    ) {
        let before = self.owners.leads_to(namespace, owner).cloned();
        let Some(pods) = self.owners.followed(namespace, owner, followed.clone()) else {
            return;
        };
        let key = match followed {
            Followed::To(key) if *key.namespace == *namespace => key,
            // An owner is always in the namespace of its pods.
            Followed::To(_) => return,
            Followed::Nowhere(why) => {
                let mut pods = pods.iter().filter_map(|&pod| self.pods.get(pod));
                if pods.any(|pod| pod.facts.opted_in) {
                    let about = TargetKey::new(owner.group(), &owner.kind, namespace, &owner.name);
                    let note = format!("not scaled: {about}: {}", why.why());
                    self.say_unscalable(about, &owner.uid, note);
                }
                return;
            }
        };
        let pods: Vec<_> = pods.iter().copied().collect();
        if before.is_some_and(|before| before != key) {
            // The owner has another controller now.
            for &pod in &pods {
                self.leave(pod);
            }
        }
        if let Some(entry) = self.ids.get(&key).and_then(|id| self.entries.get_mut(id)) {
            join(&mut self.pods, entry, pods);
        }
        if let Some(facts) = self.not_led_to.remove(&key) {
            self.target_seen(now, facts);
        }
    }

    /// Takes in that one of Ebb's EndpointSlices names `key` as the workload of its Service. At zero no pod leads to
    /// the workload, so after a restart only the slice does.
    pub(super) fn slice_leads_to(&mut self, key: &TargetKey) {
        if self.ids.contains_key(key) || self.led_by_slices.contains_key(key) {
            return;
        }
        self.led_by_slices.insert(key.clone(), None);
        self.effects.push(Effect::Confirm(key.clone()));
    }

    /// Takes in what the API server says about a workload that a slice named: whether it exists and is the topmost
    /// object that can be scaled.
    pub fn confirmed(&mut self, now: Timestamp, key: &TargetKey, followed: Followed) {
        let Some(known) = self.led_by_slices.get_mut(key) else {
            return;
        };
        *known = Some(followed);
        if self.is_led_to(key)
            && let Some(facts) = self.not_led_to.remove(key)
        {
            self.target_seen(now, facts);
        }
    }

    /// Returns whether a slice named `key`, so that an answer about it is still of use.
    #[must_use]
    pub fn is_named_by_slice(&self, key: &TargetKey) -> bool {
        self.led_by_slices.contains_key(key)
    }

    /// Takes in that the initial list of the objects of a kind is complete.
    pub fn kind_listed(&mut self, group: &str, kind: &str) {
        self.listed.insert((group.into(), kind.into()));
    }

    /// Returns whether `key` is certainly no workload, so that its record and its slice may be removed.
    pub(super) fn is_no_workload(&self, key: &TargetKey) -> bool {
        if self.ids.contains_key(key) {
            return false;
        }
        match self.led_by_slices.get(key) {
            Some(None) => false,
            Some(Some(Followed::Nowhere(why))) => *why != Dead::Forbidden,
            // It exists. For a group other than `apps`, its opt-in may not be known yet although its kind has been
            // listed.
            Some(Some(Followed::To(_))) if *key.group != *"apps" => false,
            Some(Some(Followed::To(_))) | None => {
                self.listed.contains(&(key.group.clone(), key.kind.clone()))
            }
        }
    }

    /// Returns whether pods, or one of Ebb's slices, lead to an object that another one controls.
    fn is_led_to(&self, key: &TargetKey) -> bool {
        let by_slice = || {
            let followed = self.led_by_slices.get(key).and_then(Option::as_ref);
            followed.is_some_and(|followed| *followed == Followed::To(key.clone()))
        };
        self.owners.lead_to(key) || by_slice()
    }

    /// Returns whether some pod still has this owner.
    #[must_use]
    pub fn is_owner(&self, namespace: &str, owner: &Arc<Owner>) -> bool {
        self.owners.has(namespace, owner)
    }

    /// Takes in that a conflicting autoscaler scales `target` from now on.
    pub fn conflict_seen(&mut self, now: Timestamp, target: TargetKey, name: String) {
        if self
            .conflicts
            .entry(target.clone())
            .or_default()
            .insert(name)
            && let Some(id) = self.ids.get(&target).copied()
        {
            self.validate(now, id);
        }
    }

    /// Takes in that a conflicting autoscaler no longer scales `target`.
    pub fn conflict_gone(&mut self, now: Timestamp, target: &TargetKey, name: &str) {
        let Some(names) = self.conflicts.get_mut(target) else {
            return;
        };
        names.remove(name);
        if names.is_empty() {
            self.conflicts.remove(target);
        }
        if let Some(id) = self.ids.get(target).copied() {
            self.validate(now, id);
        }
    }

    fn say_unscalable(&mut self, about: TargetKey, uid: &str, note: String) {
        self.effects.push(Effect::Say(Notice {
            about,
            uid: uid.into(),
            warning: true,
            reason: "NotScalable",
            note,
        }));
    }

    /// Requests that an owner is followed.
    fn follow(&mut self, namespace: &str, owner: Arc<Owner>) {
        self.effects.push(Effect::Follow {
            namespace: namespace.into(),
            owner,
        });
    }

    /// Removes a pod from its workload, together with its figures.
    fn leave(&mut self, id: PodId) {
        let Some(pod) = self.pods.get_mut(id) else {
            return;
        };
        let Some(workload) = pod.workload.take() else {
            return;
        };
        let series = pod.series.take();
        if let Some(entry) = self.entries.get_mut(&workload) {
            entry.pods.remove(&id);
            if let (Some(workload), Some(series)) = (&mut entry.workload, series) {
                workload.forget(series.feed);
            }
        }
    }
}

/// Adds pods to the workload that they belong to.
fn join(all: &mut Pods, entry: &mut WorkloadState, pods: impl IntoIterator<Item = PodId>) {
    for id in pods {
        if let Some(pod) = all.get_mut(id) {
            pod.workload = Some(entry.id);
            entry.pods.insert(id);
        }
    }
}
