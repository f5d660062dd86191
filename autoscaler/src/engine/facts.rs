//! What the API server tells: which objects ask to be scaled, which pods there are, and which belongs to which.
//!
//! Facts may come in any order. A pod belongs to a workload when its owner has been followed up to an object that can
//! be scaled; that is asked for only where somebody opted in, so that a cluster of which one namespace uses Ebb is not
//! walked through as a whole.

use std::{collections::BTreeSet, sync::Arc};

use ebb_autoscaler_core::Timestamp;

use super::{
    Engine,
    effect::{Effect, Notice},
    entry::Entry,
    names::{Owner, TargetKey, WorkloadId},
    pod::{Pod, PodFacts},
    pods::{PodId, Pods},
    target::TargetFacts,
};

/// Pods with the same owner.
#[derive(Debug)]
pub(super) struct Owned {
    owner: Arc<Owner>,
    namespace: Box<str>,
    asked: bool,
    pub(super) leads_to: Option<TargetKey>,
    pods: BTreeSet<PodId>,
}

impl Engine {
    /// A scalable object is there, or has changed.
    pub fn target_seen(&mut self, now: Timestamp, facts: TargetFacts) {
        if !facts.opted_in() {
            return self.target_gone(&facts.key);
        }
        if let Some(id) = self.ids.get(&facts.key).copied() {
            let Some(entry) = self.entries.get_mut(&id) else {
                return;
            };
            if entry.target.uid == facts.uid {
                let judge = entry.target.annotations != facts.annotations;
                let relabelled = entry.target.labels != facts.labels;
                entry.target = facts;
                if relabelled {
                    self.fronts.workload_seen(id, entry);
                }
                if judge {
                    self.judge(now, id);
                }
                return;
            }
            // Another object of the same name.
            self.target_gone(&facts.key);
        }
        if facts.owned && !self.owners_of.contains_key(&facts.key) {
            self.not_led_to.insert(facts.key.clone(), facts);
            return;
        }
        let id = WorkloadId(self.next_id);
        self.next_id += 1;
        let key = facts.key.clone();
        let mut entry = Box::new(Entry::new(id, facts));
        for owner in self.owners_of.get(&key).into_iter().flatten() {
            if let Some(owned) = self.owners.get(owner) {
                join(&mut self.pods, &mut entry, owned.pods.iter().copied());
            }
        }
        self.ids.insert(key.clone(), id);
        self.fronts.workload_seen(id, &entry);
        self.entries.insert(id, entry);
        self.due.insert(id, now);
        let workloads = self.namespaces.entry(key.namespace.clone()).or_default();
        *workloads += 1;
        if *workloads == 1 {
            self.ask_for_namespace(&key.namespace);
        }
        self.judge(now, id);
    }

    /// A scalable object is gone, or no longer asks to be scaled.
    pub fn target_gone(&mut self, key: &TargetKey) {
        self.not_led_to.remove(key);
        let Some(id) = self.ids.remove(key) else {
            return;
        };
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        self.due.remove(&id);
        self.fronts.workload_gone(id, &key.namespace);
        for &pod in &entry.pods {
            if let Some(pod) = self.pods.get_mut(pod) {
                // Its place in windows that are no more.
                pod.series = None;
                pod.workload = None;
            }
        }
        if let Some(workloads) = self.namespaces.get_mut(&key.namespace) {
            *workloads = workloads.saturating_sub(1);
            if *workloads == 0 {
                self.namespaces.remove(&key.namespace);
            }
        }
    }

    /// A pod is there, or has changed.
    pub fn pod_seen(&mut self, now: Timestamp, mut facts: PodFacts) {
        let known = self.pods.find(&facts.uid);
        if let Some(pod) = known.and_then(|id| self.pods.get_mut(id)) {
            if pod.facts.owner == facts.owner {
                let serves_now = facts.ready && !pod.facts.ready;
                // The one that its siblings have too.
                facts.owner = pod.facts.owner.take();
                pod.facts = facts;
                if let Some(workload) = pod.workload.filter(|_| serves_now) {
                    self.capacity_back(now, workload);
                }
                return;
            }
            // Released by one owner, and taken on by another.
            self.pod_gone(&facts.uid);
        }
        let opted_in = facts.opted_in;
        let Some(owner) = &mut facts.owner else {
            if opted_in {
                let about = TargetKey::new("", "Pod", &facts.namespace, &facts.name);
                self.say_unscalable(&about, &facts.uid);
            }
            self.pods.insert(Pod::new(facts));
            return;
        };
        let owned = self.owners.entry(owner.uid.clone());
        let owned = owned.or_insert_with(|| Owned {
            owner: Arc::clone(owner),
            namespace: facts.namespace.clone(),
            asked: false,
            leads_to: None,
            pods: BTreeSet::new(),
        });
        if owned.owner == *owner {
            *owner = Arc::clone(&owned.owner);
        }
        let id = self.pods.insert(Pod::new(facts));
        owned.pods.insert(id);
        if let Some(workload) = owned.leads_to.as_ref().and_then(|key| self.ids.get(key)) {
            if let Some(entry) = self.entries.get_mut(workload) {
                join(&mut self.pods, entry, [id]);
            }
        } else if !owned.asked && (opted_in || self.namespaces.contains_key(&owned.namespace)) {
            ask(&mut self.effects, owned);
        }
    }

    /// One more pod serves: the activators may be needed no longer.
    fn capacity_back(&mut self, now: Timestamp, id: WorkloadId) {
        let proxied = self.entries.get(&id).and_then(|entry| entry.proxy);
        if self.activator && proxied.is_some_and(|(proxied, _)| proxied) {
            self.press(now, id);
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, uid: &str) {
        let Some((id, pod)) = self.pods.remove(uid) else {
            return;
        };
        if let Some(entry) = pod.workload.and_then(|id| self.entries.get_mut(&id)) {
            entry.pods.remove(&id);
            if let (Some(workload), Some(series)) = (&mut entry.workload, pod.series) {
                workload.forget(series.feed);
            }
        }
        let Some(owner) = &pod.facts.owner else {
            return;
        };
        let Some(owned) = self.owners.get_mut(&owner.uid) else {
            return;
        };
        owned.pods.remove(&id);
        if !owned.pods.is_empty() {
            return;
        }
        let key = owned.leads_to.take();
        if let Some(owners) = key.as_ref().and_then(|key| self.owners_of.get_mut(key)) {
            owners.remove(&owner.uid);
            if owners.is_empty() {
                self.owners_of.retain(|_, owners| !owners.is_empty());
            }
        }
        self.owners.remove(&owner.uid);
    }

    /// What an owner leads to; `None`: nothing that can be scaled.
    pub fn resolved(&mut self, now: Timestamp, owner: &str, target: Option<TargetKey>) {
        let Some(owned) = self.owners.get_mut(owner) else {
            return;
        };
        let Some(key) = target else {
            let highest = Arc::clone(&owned.owner);
            let Owner {
                api_version,
                kind,
                name,
                uid,
            } = &*highest;
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let about = TargetKey::new(group, kind, &owned.namespace, name);
            let mut pods = owned.pods.iter().filter_map(|&pod| self.pods.get(pod));
            if pods.any(|pod| pod.facts.opted_in) {
                self.say_unscalable(&about, uid);
            }
            return;
        };
        owned.leads_to = Some(key.clone());
        let id = self.ids.get(&key).copied();
        if let Some(entry) = id.and_then(|id| self.entries.get_mut(&id)) {
            join(&mut self.pods, entry, owned.pods.iter().copied());
        }
        let owners = self.owners_of.entry(key.clone()).or_default();
        owners.insert(owner.into());
        if let Some(facts) = self.not_led_to.remove(&key) {
            self.target_seen(now, facts);
        }
    }

    /// Whether somebody still waits to hear what an owner leads to.
    #[must_use]
    pub fn is_owner(&self, owner: &str) -> bool {
        self.owners.contains_key(owner)
    }

    /// Somebody else scales `target` from now on.
    pub fn rival_seen(&mut self, now: Timestamp, target: TargetKey, name: String) {
        if self.rivals.entry(target.clone()).or_default().insert(name)
            && let Some(id) = self.ids.get(&target).copied()
        {
            self.judge(now, id);
        }
    }

    /// Somebody else scales `target` no longer.
    pub fn rival_gone(&mut self, now: Timestamp, target: &TargetKey, name: &str) {
        let Some(names) = self.rivals.get_mut(target) else {
            return;
        };
        names.remove(name);
        if names.is_empty() {
            self.rivals.remove(target);
        }
        if let Some(id) = self.ids.get(target).copied() {
            self.judge(now, id);
        }
    }

    fn say_unscalable(&mut self, about: &TargetKey, uid: &str) {
        self.effects.push(Effect::Say(Notice {
            about: about.clone(),
            uid: uid.into(),
            warning: true,
            reason: "NotScalable",
            note: format!(
                "not scaled: {about} has no scale subresource, and nothing that owns it has one that may be read"
            ),
        }));
    }

    fn ask_for_namespace(&mut self, namespace: &str) {
        for owned in self.owners.values_mut() {
            if *owned.namespace == *namespace && !owned.asked {
                ask(&mut self.effects, owned);
            }
        }
    }
}

/// Gives pods to the workload that they are of.
fn join(all: &mut Pods, entry: &mut Entry, pods: impl IntoIterator<Item = PodId>) {
    for id in pods {
        if let Some(pod) = all.get_mut(id) {
            pod.workload = Some(entry.id);
            entry.pods.insert(id);
        }
    }
}

fn ask(effects: &mut Vec<Effect>, owned: &mut Owned) {
    owned.asked = true;
    effects.push(Effect::Resolve {
        namespace: owned.namespace.clone(),
        owner: Arc::clone(&owned.owner),
    });
}
