//! Ownership: which objects are workloads. An object is a workload if owner references of pods lead to the object, or
//! if an EndpointSlice of Ebb names the object.
//!
//! Facts may arrive in any order. A pod belongs to a workload once the owner references of the pod have been resolved
//! to a scalable object. Owners are resolved only in namespaces with an opted-in workload or pod. Otherwise the API
//! server would get requests for all owners of a cluster although only one namespace uses Ebb.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    effect::{Effect, Notice},
    names::{Owner, TargetKey},
    outbox::Outbox,
    owners::{NoTargetReason, OwnerResolution, Owners},
    pod::{Pod, PodFacts, PodId},
    pods::Pods,
    target::TargetFacts,
};

/// Owners and EndpointSlices, with the scalable objects that they identify.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    /// Owners of pods, with the workloads that the owners resolve to.
    pub(super) owners: Owners,
    /// Opted-in objects that another object controls and that no pod or EndpointSlice has identified as a workload yet.
    unidentified: HashMap<TargetKey, TargetFacts>,
    /// Workloads that Ebb's EndpointSlices name, each with the answer of the API server; `None`: not answered yet.
    named_by_slices: HashMap<TargetKey, Option<OwnerResolution>>,
    /// Groups and kinds whose initial lists are complete.
    listed: HashSet<(Box<str>, Box<str>)>,
}

/// The scalable object that an owner resolves to.
#[derive(Debug)]
pub(super) struct ResolvedOwner {
    pub(super) key: TargetKey,
    /// The pods of the owner.
    pub(super) pods: Vec<PodId>,
    /// Whether the previous answer of the API server resolved the owner to another object.
    pub(super) is_moved: bool,
    /// Facts about the object, if the object was opted in but not identified as a workload before.
    pub(super) facts: Option<TargetFacts>,
}

impl Ownership {
    /// Returns the facts about an opted-in object if the object is a workload. An object that another object controls
    /// is a workload only if a pod or an EndpointSlice identifies it as one. Until then, the facts are stored and the
    /// result is `None`.
    pub(super) fn admit(&mut self, facts: TargetFacts) -> Option<TargetFacts> {
        if facts.owned && !self.is_identified(&facts.key) {
            self.unidentified.insert(facts.key.clone(), facts);
            return None;
        }
        Some(facts)
    }

    /// Records that an object was deleted or has opted out.
    pub(super) fn target_gone(&mut self, key: &TargetKey) {
        self.unidentified.remove(key);
        if let Some(named) = self.named_by_slices.get_mut(key) {
            *named = Some(OwnerResolution::NoTarget(NoTargetReason::Absent));
        }
    }

    /// Counts a new workload in a namespace, and requests the resolution of the owners in this namespace.
    pub(super) fn workload_added(&mut self, namespace: &str, outbox: &mut Outbox) {
        for owner in self.owners.workload_added(namespace) {
            request_resolution(namespace, owner, outbox);
        }
    }

    /// Processes a new pod. Returns the number of the pod and the workload of the pod; `None` if the workload is not
    /// known.
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
            request_resolution(&namespace, owner, outbox);
        }
        Some((id, self.owners.target_of(&namespace, &owner)?))
    }

    /// Records the answer of the API server about an owner of pods in `namespace`. Returns the scalable object that the
    /// owner resolves to; `None` if the owner resolves to no scalable object or no pod has this owner any more.
    pub(super) fn owner_resolved(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        resolution: OwnerResolution,
        pods: &Pods,
        outbox: &mut Outbox,
    ) -> Option<ResolvedOwner> {
        let before = self.owners.target_of(namespace, owner).cloned();
        let owned = self.owners.resolved(namespace, owner, resolution.clone())?;
        match resolution {
            OwnerResolution::Target(key) if *key.namespace == *namespace => Some(ResolvedOwner {
                pods: owned.iter().copied().collect(),
                // True if the owner resolved to another object before, for example because its controller has changed.
                is_moved: before.is_some_and(|before| before != key),
                facts: self.unidentified.remove(&key),
                key,
            }),
            // An object in another namespace is ignored, because an owner is always in the namespace of its pods.
            OwnerResolution::Target(_) => None,
            OwnerResolution::NoTarget(why) => {
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

    /// Records that one of Ebb's EndpointSlices names `key` as the workload of its Service. A workload at zero has no
    /// pods, so after a restart only the EndpointSlice identifies the workload.
    pub(super) fn slice_names(&mut self, key: TargetKey, outbox: &mut Outbox) {
        if !self.named_by_slices.contains_key(&key) {
            self.named_by_slices.insert(key.clone(), None);
            outbox.push(Effect::Confirm(key));
        }
    }

    /// Records the answer of the API server about a workload that an EndpointSlice names. Returns the facts about the
    /// object if this answer identifies the object as a workload.
    pub(super) fn confirmed(
        &mut self,
        key: &TargetKey,
        resolution: OwnerResolution,
    ) -> Option<TargetFacts> {
        *self.named_by_slices.get_mut(key)? = Some(resolution);
        match self.is_identified(key) {
            true => self.unidentified.remove(key),
            false => None,
        }
    }

    /// Returns whether an EndpointSlice names `key` as its workload.
    pub(super) fn is_named_by_slice(&self, key: &TargetKey) -> bool {
        self.named_by_slices.contains_key(key)
    }

    /// Removes the stored answers of the API server about workloads that are not in `named`. No EndpointSlice and no
    /// record of activator ports names these workloads any more.
    pub(super) fn sweep(&mut self, named: impl Iterator<Item = TargetKey>) {
        let named: HashSet<_> = named.collect();
        self.named_by_slices.retain(|key, _| named.contains(key));
    }

    /// Records that the initial list of the objects of a kind is complete.
    pub(super) fn kind_listed(&mut self, group: &str, kind: &str) {
        self.listed.insert((group.into(), kind.into()));
    }

    /// Returns whether `key` is known not to be a workload, so that its recorded ports and its EndpointSlice may be
    /// removed. The caller must not call this function for an object that is a workload at present.
    pub(super) fn is_no_workload(&self, key: &TargetKey) -> bool {
        match self.named_by_slices.get(key) {
            Some(None) => false,
            Some(Some(OwnerResolution::NoTarget(why))) => *why != NoTargetReason::Forbidden,
            // The object exists, and it may be a workload. If its group is not `apps`, the engine may not know whether
            // the object has opted in, even after the initial list of its kind.
            Some(Some(OwnerResolution::Target(_))) if *key.group != *"apps" => false,
            Some(Some(OwnerResolution::Target(_))) | None => {
                self.listed.contains(&(key.group.clone(), key.kind.clone()))
            }
        }
    }

    /// Returns whether an object is known to be a workload: an owner of pods resolves to it, or one of Ebb's
    /// EndpointSlices names it and the API server has confirmed it.
    fn is_identified(&self, key: &TargetKey) -> bool {
        let by_slice = || {
            let resolution = self.named_by_slices.get(key).and_then(Option::as_ref);
            resolution.is_some_and(|resolution| *resolution == OwnerResolution::Target(key.clone()))
        };
        self.owners.any_resolves_to(key) || by_slice()
    }
}

/// Asks the caller of the engine to resolve an owner of pods.
fn request_resolution(namespace: &str, owner: Arc<Owner>, outbox: &mut Outbox) {
    outbox.push(Effect::ResolveOwner {
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
