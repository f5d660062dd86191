//! Which objects are scaled: those to which the owners of pods, or one of Ebb's slices, lead.
//!
//! Facts may arrive in any order. A pod belongs to a workload once its owner references have been followed up to an
//! object that can be scaled. They are followed only where somebody opted in, so that the API server is not asked about
//! every owner of a cluster in which one namespace uses Ebb.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    effect::{Effect, Notice},
    names::{Owner, TargetKey},
    outbox::Outbox,
    owners::{Dead, Followed, Owners},
    pod::{Pod, PodFacts, PodId},
    pods::Pods,
    target::TargetFacts,
};

/// What leads to the objects that can be scaled.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    /// The owners of pods, and the workloads that they lead to.
    pub(super) owners: Owners,
    /// Opted-in objects that another object controls, and to which neither a pod nor a slice has led yet.
    not_led_to: HashMap<TargetKey, TargetFacts>,
    /// Workloads that Ebb's slices name, and what the API server says about them; `None`: not answered yet.
    led_by_slices: HashMap<TargetKey, Option<Followed>>,
    /// Group and kind of the objects whose initial list is complete.
    listed: HashSet<(Box<str>, Box<str>)>,
}

/// An object to which an owner leads.
#[derive(Debug)]
pub(super) struct LedTo {
    pub(super) key: TargetKey,
    /// The pods of the owner.
    pub(super) pods: Vec<PodId>,
    /// Whether the owner led to another object before.
    pub(super) is_moved: bool,
    /// The facts about the object, if nothing led to it before.
    pub(super) facts: Option<TargetFacts>,
}

impl Ownership {
    /// Returns the facts about an object that is scaled. Stores them if another object controls it and nothing leads to
    /// it yet.
    pub(super) fn admit(&mut self, facts: TargetFacts) -> Option<TargetFacts> {
        if facts.owned && !self.is_led_to(&facts.key) {
            self.not_led_to.insert(facts.key.clone(), facts);
            return None;
        }
        Some(facts)
    }

    /// Takes in that an object was deleted or has opted out.
    pub(super) fn target_gone(&mut self, key: &TargetKey) {
        self.not_led_to.remove(key);
        if let Some(named) = self.led_by_slices.get_mut(key) {
            *named = Some(Followed::Nowhere(Dead::Absent));
        }
    }

    /// Takes in a new workload in a namespace.
    pub(super) fn workload_comes(&mut self, namespace: &str, outbox: &mut Outbox) {
        for owner in self.owners.workload_comes(namespace) {
            follow(namespace, owner, outbox);
        }
    }

    /// Takes in a new pod. Returns its number and the workload that it belongs to, as far as it is known.
    pub(super) fn pod_seen(
        &mut self,
        mut facts: PodFacts,
        pods: &mut Pods,
        outbox: &mut Outbox,
    ) -> Option<(PodId, &TargetKey)> {
        let opted_in = facts.opted_in;
        let Some(owner) = facts.owner.take() else {
            if opted_in {
                let about = TargetKey::new("", "Pod", &facts.namespace, &facts.name);
                let note = format!("not scaled: no object that can be scaled owns {about}");
                say_unscalable(about, &facts.uid, note, outbox);
            }
            pods.insert(Pod::new(facts));
            return None;
        };
        let namespace = facts.namespace.clone();
        let owner = self.owners.shared(&namespace, &owner);
        facts.owner = Some(Arc::clone(&owner));
        let id = pods.insert(Pod::new(facts));
        if let Some(owner) = self.owners.add(&namespace, &owner, id, opted_in) {
            follow(&namespace, owner, outbox);
        }
        Some((id, self.owners.leads_to(&namespace, &owner)?))
    }

    /// Takes in what the owner of pods in `namespace` leads to. Returns the object that it leads to.
    pub(super) fn followed(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        followed: Followed,
        pods: &Pods,
        outbox: &mut Outbox,
    ) -> Option<LedTo> {
        let before = self.owners.leads_to(namespace, owner).cloned();
        let owned = self.owners.followed(namespace, owner, followed.clone())?;
        match followed {
            Followed::To(key) if *key.namespace == *namespace => Some(LedTo {
                pods: owned.iter().copied().collect(),
                // The owner has another controller now.
                is_moved: before.is_some_and(|before| before != key),
                facts: self.not_led_to.remove(&key),
                key,
            }),
            // An owner is always in the namespace of its pods.
            Followed::To(_) => None,
            Followed::Nowhere(why) => {
                let mut owned = owned.iter().filter_map(|&pod| pods.get(pod));
                if owned.any(|pod| pod.facts.opted_in) {
                    let about = TargetKey::new(owner.group(), &owner.kind, namespace, &owner.name);
                    let note = format!("not scaled: {about}: {}", why.why());
                    say_unscalable(about, &owner.uid, note, outbox);
                }
                None
            }
        }
    }

    /// Takes in that one of Ebb's EndpointSlices names `key` as the workload of its Service. At zero no pod leads to
    /// the workload, so after a restart only the slice does.
    pub(super) fn slice_leads_to(&mut self, key: TargetKey, outbox: &mut Outbox) {
        if !self.led_by_slices.contains_key(&key) {
            self.led_by_slices.insert(key.clone(), None);
            outbox.push(Effect::Confirm(key));
        }
    }

    /// Takes in what the API server says about a workload that a slice named. Returns the facts about the object if
    /// nothing led to it before.
    pub(super) fn confirmed(&mut self, key: &TargetKey, followed: Followed) -> Option<TargetFacts> {
        *self.led_by_slices.get_mut(key)? = Some(followed);
        match self.is_led_to(key) {
            true => self.not_led_to.remove(key),
            false => None,
        }
    }

    /// Returns whether a slice named `key`.
    pub(super) fn is_named_by_slice(&self, key: &TargetKey) -> bool {
        self.led_by_slices.contains_key(key)
    }

    /// Removes what is known about the workloads that no slice names any more.
    pub(super) fn sweep(&mut self, named: impl Iterator<Item = TargetKey>) {
        let named: HashSet<_> = named.collect();
        self.led_by_slices.retain(|key, _| named.contains(key));
    }

    /// Takes in that the initial list of the objects of a kind is complete.
    pub(super) fn kind_listed(&mut self, group: &str, kind: &str) {
        self.listed.insert((group.into(), kind.into()));
    }

    /// Returns whether `key`, which is not a workload now, is certainly none, so that its record and its slice may be
    /// removed.
    pub(super) fn is_no_workload(&self, key: &TargetKey) -> bool {
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
}

/// Requests that an owner is followed.
fn follow(namespace: &str, owner: Arc<Owner>, outbox: &mut Outbox) {
    outbox.push(Effect::Follow {
        namespace: namespace.into(),
        owner,
    });
}

fn say_unscalable(about: TargetKey, uid: &str, note: String, outbox: &mut Outbox) {
    outbox.say(Notice {
        about,
        uid: uid.into(),
        warning: true,
        reason: "NotScalable",
        note,
    });
}
