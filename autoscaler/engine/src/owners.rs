//! The owners of pods, by namespace: the pods of each owner, and the workload that each owner resolves to.
//!
//! Bias: an owner that has not been resolved yet may belong to any workload of its namespace, so no workload of this
//! namespace is scaled down. An owner never resolves to an object in another namespace.
//!
//! Failure mode: if the API server does not answer for an owner, the workloads of the namespace are not scaled down,
//! and the status of each workload names one of the owners that are not resolved.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    names::{Owner, TargetKey},
    pod::PodId,
};

/// The object that an owner resolves to, according to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerResolution {
    /// The owner resolves to this object: the topmost scalable object in its chain of owners.
    Target(TargetKey),
    /// The owner resolves to no scalable object, for this reason. A later attempt to resolve the owner may succeed.
    NoTarget(NoTargetReason),
}

/// Reason why an owner resolves to no scalable object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTargetReason {
    /// The cluster does not serve the kind of the owner.
    UnknownKind,
    /// The pod's namespace has no object with this name and with the uid of the owner reference.
    Absent,
    /// The autoscaler's service account may not read the owner.
    Forbidden,
    /// The object exists, but neither it nor any of its owners has a scale subresource.
    NotScalable,
}

impl NoTargetReason {
    /// Returns the reason as text for Events, with the remedy if one exists.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::UnknownKind => "the cluster does not serve this kind",
            Self::Absent => {
                "the namespace has no such object with the uid of the pod's ownerReference"
            }
            Self::Forbidden => {
                "ebb-autoscaler may not read this object; add a ClusterRole with the label ebb.dev/aggregate-to-autoscaler"
            }
            Self::NotScalable => {
                "neither this object nor any of its owners has a scale subresource"
            }
        }
    }
}

/// The pods of one owner, and the state of the resolution of this owner.
#[derive(Debug, Default)]
pub(super) struct OwnerState {
    state: ResolutionState,
    pods: BTreeSet<PodId>,
}

/// State of the resolution of an owner.
#[derive(Debug, Default, PartialEq, Eq)]
enum ResolutionState {
    /// The owner is not requested from the API server: the namespace has no workload, and no pod of the owner has opted
    /// in.
    #[default]
    NotRequested,
    /// The owner is requested from the API server, and no answer has arrived yet.
    Pending,
    /// The API server has answered the request for the owner. The value is the answer.
    Done(OwnerResolution),
}

/// The owners of one namespace.
#[derive(Debug, Default)]
struct NamespaceOwners {
    /// Number of workloads in the namespace.
    workloads: usize,
    owners: BTreeMap<Arc<Owner>, OwnerState>,
    /// Owners that were requested from the API server and are not answered yet.
    pending: BTreeSet<Arc<Owner>>,
    /// Owners by the workload that the owners resolve to.
    by_target: HashMap<TargetKey, BTreeSet<Arc<Owner>>>,
}

/// All owners, by namespace.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<Box<str>, NamespaceOwners>);

impl Owners {
    /// Adds a pod. Returns the owner if the owner must be requested from the API server now.
    pub(super) fn add(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        pod: PodId,
        opted_in: bool,
    ) -> Option<Arc<Owner>> {
        let in_namespace = self.0.entry(namespace.into()).or_default();
        let wanted = opted_in || in_namespace.workloads > 0;
        let owned = in_namespace.owners.entry(Arc::clone(owner)).or_default();
        owned.pods.insert(pod);
        (wanted && owned.request()).then(|| {
            in_namespace.pending.insert(Arc::clone(owner));
            Arc::clone(owner)
        })
    }

    /// Returns a reference to the stored owner, so that all pods of an owner share one allocation in memory.
    pub(super) fn shared(&self, namespace: &str, owner: &Arc<Owner>) -> Arc<Owner> {
        let in_namespace = self.0.get(namespace);
        let known = in_namespace.and_then(|it| it.owners.get_key_value(owner));
        Arc::clone(known.map_or(owner, |(known, _)| known))
    }

    /// Removes a pod.
    pub(super) fn remove(&mut self, namespace: &str, owner: &Arc<Owner>, pod: PodId) {
        let Some(in_namespace) = self.0.get_mut(namespace) else {
            return;
        };
        let Some(owned) = in_namespace.owners.get_mut(owner) else {
            return;
        };
        owned.pods.remove(&pod);
        if owned.pods.is_empty() {
            if let Some(OwnerState {
                state: ResolutionState::Done(OwnerResolution::Target(key)),
                ..
            }) = in_namespace.owners.remove(owner)
            {
                in_namespace.leads_no_longer(&key, owner);
            }
            in_namespace.pending.remove(owner);
            self.tidy(namespace);
        }
    }

    /// Records the object that an owner resolves to. Returns the pods of the owner; `None` if no pod has this owner any
    /// more.
    pub(super) fn resolved(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        resolution: OwnerResolution,
    ) -> Option<&BTreeSet<PodId>> {
        let in_namespace = self.0.get_mut(namespace)?;
        let owned = in_namespace.owners.get_mut(owner)?;
        in_namespace.pending.remove(owner);
        let before = std::mem::replace(&mut owned.state, ResolutionState::Done(resolution.clone()));
        if let ResolutionState::Done(OwnerResolution::Target(key)) = before
            && OwnerResolution::Target(key.clone()) != resolution
        {
            in_namespace.leads_no_longer(&key, owner);
        }
        if let OwnerResolution::Target(key) = resolution {
            let owners = in_namespace.by_target.entry(key).or_default();
            owners.insert(Arc::clone(owner));
        }
        in_namespace.owners.get(owner).map(|owned| &owned.pods)
    }

    /// Returns the workload that an owner resolves to; `None` if the owner has not been resolved yet or resolves to no
    /// scalable object.
    pub(super) fn target_of(&self, namespace: &str, owner: &Arc<Owner>) -> Option<&TargetKey> {
        match &self.0.get(namespace)?.owners.get(owner)?.state {
            ResolutionState::Done(OwnerResolution::Target(key)) => Some(key),
            _ => None,
        }
    }

    /// Returns whether at least one pod has this owner.
    pub(super) fn has(&self, namespace: &str, owner: &Arc<Owner>) -> bool {
        let in_namespace = self.0.get(namespace);
        in_namespace.is_some_and(|it| it.owners.contains_key(owner))
    }

    /// Returns the pods whose owners resolve to `key`.
    pub(super) fn pods_of(&self, key: &TargetKey) -> impl Iterator<Item = PodId> + '_ {
        let in_namespace = self.0.get(&key.namespace);
        let owners = in_namespace
            .and_then(|in_namespace| Some((in_namespace, in_namespace.by_target.get(key)?)));
        owners.into_iter().flat_map(|(in_namespace, owners)| {
            let owned = owners
                .iter()
                .filter_map(|owner| in_namespace.owners.get(owner));
            owned.flat_map(|owned| owned.pods.iter().copied())
        })
    }

    /// Returns whether at least one owner of pods resolves to the workload `key`.
    pub(super) fn any_resolves_to(&self, key: &TargetKey) -> bool {
        let in_namespace = self.0.get(&key.namespace);
        in_namespace.is_some_and(|it| it.by_target.contains_key(key))
    }

    /// Returns the number of owners in a namespace that the API server has not resolved yet, and the first of them;
    /// `None` if all are resolved.
    pub(super) fn pending(&self, namespace: &str) -> Option<(usize, &Owner)> {
        let pending = &self.0.get(namespace)?.pending;
        Some((pending.len(), pending.first()?))
    }

    /// Increments the number of workloads in the namespace. Returns the owners to request from the API server.
    pub(super) fn workload_added(&mut self, namespace: &str) -> Vec<Arc<Owner>> {
        let in_namespace = self.0.entry(namespace.into()).or_default();
        in_namespace.workloads += 1;
        if in_namespace.workloads > 1 {
            return Vec::new();
        }
        let not_requested = in_namespace.owners.iter_mut().filter_map(|(owner, owned)| {
            let is_new = owned.request();
            is_new.then(|| Arc::clone(owner))
        });
        let not_requested: Vec<_> = not_requested.collect();
        in_namespace.pending.extend(not_requested.iter().cloned());
        not_requested
    }

    /// Decrements the number of workloads in the namespace.
    pub(super) fn workload_removed(&mut self, namespace: &str) {
        if let Some(in_namespace) = self.0.get_mut(namespace) {
            in_namespace.workloads = in_namespace.workloads.saturating_sub(1);
            self.tidy(namespace);
        }
    }

    /// Returns the number of workloads in a namespace.
    pub(super) fn workloads_in(&self, namespace: &str) -> usize {
        self.0.get(namespace).map_or(0, |it| it.workloads)
    }

    /// Returns the number of known owners.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|it| it.owners.len()).sum()
    }

    fn tidy(&mut self, namespace: &str) {
        if self.0.get(namespace).is_some_and(|in_namespace| {
            in_namespace.workloads == 0 && in_namespace.owners.is_empty()
        }) {
            self.0.remove(namespace);
        }
    }
}

impl NamespaceOwners {
    fn leads_no_longer(&mut self, key: &TargetKey, owner: &Arc<Owner>) {
        if let Some(owners) = self.by_target.get_mut(key) {
            owners.remove(owner);
            if owners.is_empty() {
                self.by_target.remove(key);
            }
        }
    }
}

impl OwnerState {
    /// Marks the owner as requested. Returns true only at the first call, when the caller must request the owner from
    /// the API server.
    fn request(&mut self) -> bool {
        let not_requested = self.state == ResolutionState::NotRequested;
        if not_requested {
            self.state = ResolutionState::Pending;
        }
        not_requested
    }
}
