//! What the API server tells: which objects ask to be scaled, which pods there are, and which belongs to which.
//!
//! Facts may come in any order. A pod belongs to a workload when its owner has been followed up to an object that can
//! be scaled; that is asked for only where somebody opted in, so that a cluster of which one namespace uses Ebb is not
//! walked through as a whole.

use std::collections::BTreeSet;

use ebb_autoscaler_core::Timestamp;

use super::{
    Engine,
    effect::{Effect, Notice},
    entry::Entry,
    names::{Owner, TargetKey, WorkloadId},
    pod::{Pod, PodFacts},
    target::TargetFacts,
};

/// Pods with the same owner.
#[derive(Debug)]
pub(super) struct Owned {
    owner: Owner,
    namespace: Box<str>,
    asked: bool,
    pub(super) leads_to: Option<TargetKey>,
    pods: BTreeSet<Box<str>>,
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
        let mut entry = Entry::new(id, facts, now);
        for owner in self.owners_of.get(&key).into_iter().flatten() {
            if let Some(owned) = self.owners.get(owner) {
                entry.pods.extend(owned.pods.iter().cloned());
            }
        }
        self.ids.insert(key.clone(), id);
        self.fronts.workload_seen(id, &entry);
        self.entries.insert(id, entry);
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
        self.fronts.workload_gone(id, &key.namespace);
        for uid in &entry.pods {
            if let Some(pod) = self.pods.get_mut(uid) {
                // Its place in windows that are no more.
                pod.series = None;
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
    pub fn pod_seen(&mut self, now: Timestamp, facts: PodFacts) {
        let uid = facts.uid.clone();
        if let Some(pod) = self.pods.get_mut(&uid) {
            let serves_now = facts.ready && !pod.facts.ready;
            pod.facts = facts;
            if serves_now {
                self.capacity_back(now, &uid);
            }
            return;
        }
        if let Some(owner) = facts.owner.clone() {
            let owned = self
                .owners
                .entry(owner.uid.clone())
                .or_insert_with(|| Owned {
                    owner,
                    namespace: facts.namespace.clone(),
                    asked: false,
                    leads_to: None,
                    pods: BTreeSet::new(),
                });
            owned.pods.insert(uid.clone());
            if let Some(id) = owned.leads_to.as_ref().and_then(|key| self.ids.get(key)) {
                if let Some(entry) = self.entries.get_mut(id) {
                    entry.pods.insert(uid.clone());
                }
            } else if !owned.asked
                && (facts.opted_in || self.namespaces.contains_key(&facts.namespace))
            {
                ask(&mut self.effects, owned);
            }
        } else if facts.opted_in {
            self.say_unscalable(
                &TargetKey::new("", "Pod", &facts.namespace, &facts.name),
                &uid,
            );
        }
        self.pods.insert(uid, Pod::new(facts));
    }

    /// One more pod serves: the activators may be needed no longer.
    fn capacity_back(&mut self, now: Timestamp, uid: &str) {
        let owner = self.pods.get(uid).and_then(|pod| pod.facts.owner.as_ref());
        let owned = owner.and_then(|owner| self.owners.get(&owner.uid));
        let key = owned.and_then(|owned| owned.leads_to.as_ref());
        let Some(&id) = key.and_then(|key| self.ids.get(key)) else {
            return;
        };
        let proxied = self.entries.get(&id).and_then(|entry| entry.proxy);
        if self.activator && proxied.is_some_and(|(proxied, _)| proxied) {
            self.press(now, id);
        }
    }

    /// A pod is gone.
    pub fn pod_gone(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        let Some(owner) = &pod.facts.owner else {
            return;
        };
        let Some(owned) = self.owners.get_mut(&owner.uid) else {
            return;
        };
        owned.pods.remove(uid);
        let key = owned.leads_to.clone();
        if owned.pods.is_empty() {
            if let Some(owners) = key.as_ref().and_then(|key| self.owners_of.get_mut(key)) {
                owners.remove(&owner.uid);
                if owners.is_empty() {
                    self.owners_of.retain(|_, owners| !owners.is_empty());
                }
            }
            self.owners.remove(&owner.uid);
        }
        let id = key.and_then(|key| self.ids.get(&key).copied());
        if let Some(entry) = id.and_then(|id| self.entries.get_mut(&id)) {
            entry.pods.remove(uid);
            if let (Some(workload), Some(series)) = (&mut entry.workload, pod.series) {
                workload.forget(series.feed);
            }
        }
    }

    /// What an owner leads to; `None`: nothing that can be scaled.
    pub fn resolved(&mut self, now: Timestamp, owner: &str, target: Option<TargetKey>) {
        let Some(owned) = self.owners.get_mut(owner) else {
            return;
        };
        let Some(key) = target else {
            let Owner {
                api_version,
                kind,
                name,
                uid,
            } = owned.owner.clone();
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let about = TargetKey::new(group, &kind, &owned.namespace, &name);
            let opted_in = |uid| {
                self.pods
                    .get(uid)
                    .is_some_and(|pod: &Pod| pod.facts.opted_in)
            };
            if owned.pods.iter().any(opted_in) {
                self.say_unscalable(&about, &uid);
            }
            return;
        };
        owned.leads_to = Some(key.clone());
        let id = self.ids.get(&key).copied();
        if let Some(entry) = id.and_then(|id| self.entries.get_mut(&id)) {
            entry.pods.extend(owned.pods.iter().cloned());
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

fn ask(effects: &mut Vec<Effect>, owned: &mut Owned) {
    owned.asked = true;
    effects.push(Effect::Resolve {
        namespace: owned.namespace.clone(),
        owner: owned.owner.clone(),
    });
}
