//! The owners of pods, by namespace: which pods each owner has, and which workload it leads to.
//!
//! Bias: an owner that has not been followed yet may lead to any workload of its namespace, so none of these workloads
//! shrinks. An owner never leads to another namespace.
//!
//! Failure mode: if the API server does not answer for an owner, the workloads of that namespace do not shrink, and
//! their status names the owner.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    names::{Owner, TargetKey},
    pod::PodId,
};

/// What an owner leads to, as the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// This object: the topmost one that can be scaled.
    To(TargetKey),
    /// Nothing that can be scaled, for this reason. The owner may be followed again.
    Nowhere(Dead),
}

/// Why an owner leads to nothing that can be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// The cluster does not serve its kind.
    UnknownKind,
    /// The pod's namespace has no object with this name and with the uid of the owner reference.
    Absent,
    /// The autoscaler's service account may not read it.
    Forbidden,
    /// The object exists, but neither it nor any of its owners has a scale subresource.
    NotScalable,
}

impl Dead {
    /// Returns the cause and the remedy, for people.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::UnknownKind => "the cluster does not serve its kind",
            Self::Absent => {
                "no such object with the uid of the pod's ownerReference is in its namespace"
            }
            Self::Forbidden => {
                "ebb-autoscaler may not read it; add a ClusterRole with the label ebb.dev/aggregate-to-autoscaler"
            }
            Self::NotScalable => "it has no scale subresource, and nothing that owns it has one",
        }
    }
}

/// Pods with the same owner.
#[derive(Debug, Default)]
pub(super) struct Owned {
    state: State,
    pods: BTreeSet<PodId>,
}

/// How far an owner has been followed.
#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Not followed: no workload is in its namespace, and none of its pods has opted in.
    #[default]
    Unasked,
    /// Requested from the API server, and not answered yet.
    Pending,
    /// Answered.
    Done(Followed),
}

/// The owners of one namespace.
#[derive(Debug, Default)]
struct NamespaceOwners {
    /// Number of workloads in the namespace.
    workloads: usize,
    owners: BTreeMap<Arc<Owner>, Owned>,
    /// Owners that were requested and are not answered yet.
    pending: BTreeSet<Arc<Owner>>,
    /// Owners by the workload that they lead to.
    by_target: HashMap<TargetKey, BTreeSet<Arc<Owner>>>,
}

/// All owners, by namespace.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<Box<str>, NamespaceOwners>);

impl Owners {
    /// Adds a pod. Returns the owner if it has to be requested from the API server now.
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
        (wanted && owned.ask()).then(|| {
            in_namespace.pending.insert(Arc::clone(owner));
            Arc::clone(owner)
        })
    }

    /// Returns the one allocation that all pods of an owner share.
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
            if let Some(Owned {
                state: State::Done(Followed::To(key)),
                ..
            }) = in_namespace.owners.remove(owner)
            {
                in_namespace.leads_no_longer(&key, owner);
            }
            in_namespace.pending.remove(owner);
            self.tidy(namespace);
        }
    }

    /// Records what an owner leads to, and returns the pods of the owner; `None` if no pod has this owner any more.
    pub(super) fn followed(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        followed: Followed,
    ) -> Option<&BTreeSet<PodId>> {
        let in_namespace = self.0.get_mut(namespace)?;
        let owned = in_namespace.owners.get_mut(owner)?;
        in_namespace.pending.remove(owner);
        let before = std::mem::replace(&mut owned.state, State::Done(followed.clone()));
        if let State::Done(Followed::To(key)) = before
            && Followed::To(key.clone()) != followed
        {
            in_namespace.leads_no_longer(&key, owner);
        }
        if let Followed::To(key) = followed {
            let owners = in_namespace.by_target.entry(key).or_default();
            owners.insert(Arc::clone(owner));
        }
        in_namespace.owners.get(owner).map(|owned| &owned.pods)
    }

    /// Returns the workload that an owner leads to, as far as it is known.
    pub(super) fn leads_to(&self, namespace: &str, owner: &Arc<Owner>) -> Option<&TargetKey> {
        match &self.0.get(namespace)?.owners.get(owner)?.state {
            State::Done(Followed::To(key)) => Some(key),
            _ => None,
        }
    }

    /// Returns whether some pod has this owner.
    pub(super) fn has(&self, namespace: &str, owner: &Arc<Owner>) -> bool {
        let in_namespace = self.0.get(namespace);
        in_namespace.is_some_and(|it| it.owners.contains_key(owner))
    }

    /// Returns the pods whose owners lead to `key`.
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

    /// Returns whether the owners of pods lead to `key`.
    pub(super) fn lead_to(&self, key: &TargetKey) -> bool {
        let in_namespace = self.0.get(&key.namespace);
        in_namespace.is_some_and(|it| it.by_target.contains_key(key))
    }

    /// Returns how many owners of a namespace have not been followed yet, and the first of them.
    pub(super) fn pending(&self, namespace: &str) -> Option<(usize, &Owner)> {
        let pending = &self.0.get(namespace)?.pending;
        Some((pending.len(), pending.first()?))
    }

    /// Counts a workload more in the namespace. Returns the owners to request from the API server.
    pub(super) fn workload_comes(&mut self, namespace: &str) -> Vec<Arc<Owner>> {
        let in_namespace = self.0.entry(namespace.into()).or_default();
        in_namespace.workloads += 1;
        if in_namespace.workloads > 1 {
            return Vec::new();
        }
        let unasked = in_namespace.owners.iter_mut().filter_map(|(owner, owned)| {
            let ask = owned.ask();
            ask.then(|| Arc::clone(owner))
        });
        let unasked: Vec<_> = unasked.collect();
        in_namespace.pending.extend(unasked.iter().cloned());
        unasked
    }

    /// Counts a workload less in the namespace.
    pub(super) fn workload_goes(&mut self, namespace: &str) {
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

impl Owned {
    /// Marks the owner as requested. Returns whether it has to be requested now, which is true only once.
    fn ask(&mut self) -> bool {
        let unasked = self.state == State::Unasked;
        if unasked {
            self.state = State::Pending;
        }
        unasked
    }
}
