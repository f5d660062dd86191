//! The owners of pods, by namespace: which pods each has, and which workload it leads to.
//!
//! Bias: an owner that has not been followed yet may lead to any workload of its namespace, so all of them wait. An owner
//! of another namespace never leads anywhere. Failure mode: an owner that the API server does not answer for keeps the
//! workloads of its namespace from shrinking, and says so by its name.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    names::{Owner, TargetKey},
    pods::PodId,
};

/// What an owner leads to, as the API server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// To this object: the topmost that can be scaled.
    To(TargetKey),
    /// To nothing that can be scaled, for this reason. It may be asked for again.
    Nowhere(Dead),
}

/// Why an owner leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// The cluster has no such kind.
    UnknownKind,
    /// There is no object of this name with the uid of the reference in the pod's namespace.
    Absent,
    /// The autoscaler's account may not read it.
    Forbidden,
    /// It exists, and neither it nor anything above it has a scale subresource.
    NotScalable,
}

impl Dead {
    /// For people: what is wrong and what to do.
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
    /// Nobody has asked: no workload is in its namespace, and none of its pods opted in.
    #[default]
    Unasked,
    /// Asked, and not answered yet.
    Pending,
    /// Answered.
    Done(Followed),
}

/// The owners of one namespace.
#[derive(Debug, Default)]
struct Space {
    /// Workloads in it.
    workloads: usize,
    owners: BTreeMap<Arc<Owner>, Owned>,
    /// Those that are asked and not answered.
    pending: BTreeSet<Arc<Owner>>,
    /// Owners by what they lead to.
    by_target: HashMap<TargetKey, BTreeSet<Arc<Owner>>>,
}

/// All owners.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<Box<str>, Space>);

impl Owners {
    /// Adds a pod. The owner to ask the API server for, if it has to be followed now.
    pub(super) fn add(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        pod: PodId,
        opted_in: bool,
    ) -> Option<Arc<Owner>> {
        let space = self.0.entry(namespace.into()).or_default();
        let wanted = opted_in || space.workloads > 0;
        let owned = space.owners.entry(Arc::clone(owner)).or_default();
        owned.pods.insert(pod);
        (wanted && owned.ask()).then(|| {
            space.pending.insert(Arc::clone(owner));
            Arc::clone(owner)
        })
    }

    /// The one allocation that all pods of an owner share.
    pub(super) fn shared(&self, namespace: &str, owner: &Arc<Owner>) -> Arc<Owner> {
        let space = self.0.get(namespace);
        let known = space.and_then(|space| space.owners.get_key_value(owner));
        Arc::clone(known.map_or(owner, |(known, _)| known))
    }

    /// Takes a pod out.
    pub(super) fn remove(&mut self, namespace: &str, owner: &Arc<Owner>, pod: PodId) {
        let Some(space) = self.0.get_mut(namespace) else {
            return;
        };
        let Some(owned) = space.owners.get_mut(owner) else {
            return;
        };
        owned.pods.remove(&pod);
        if owned.pods.is_empty() {
            if let Some(Owned {
                state: State::Done(Followed::To(key)),
                ..
            }) = space.owners.remove(owner)
            {
                space.leads_no_longer(&key, owner);
            }
            space.pending.remove(owner);
            self.tidy(namespace);
        }
    }

    /// What an owner leads to; the pods that it brings along. `None` if nobody waits to know.
    pub(super) fn followed(
        &mut self,
        namespace: &str,
        owner: &Arc<Owner>,
        followed: Followed,
    ) -> Option<&BTreeSet<PodId>> {
        let space = self.0.get_mut(namespace)?;
        let owned = space.owners.get_mut(owner)?;
        space.pending.remove(owner);
        let before = std::mem::replace(&mut owned.state, State::Done(followed.clone()));
        if let State::Done(Followed::To(key)) = before
            && Followed::To(key.clone()) != followed
        {
            space.leads_no_longer(&key, owner);
        }
        if let Followed::To(key) = followed {
            let owners = space.by_target.entry(key).or_default();
            owners.insert(Arc::clone(owner));
        }
        space.owners.get(owner).map(|owned| &owned.pods)
    }

    /// What an owner leads to, as far as it is known.
    pub(super) fn leads_to(&self, namespace: &str, owner: &Arc<Owner>) -> Option<&TargetKey> {
        match &self.0.get(namespace)?.owners.get(owner)?.state {
            State::Done(Followed::To(key)) => Some(key),
            _ => None,
        }
    }

    /// Whether some pod has this owner.
    pub(super) fn has(&self, namespace: &str, owner: &Arc<Owner>) -> bool {
        let space = self.0.get(namespace);
        space.is_some_and(|space| space.owners.contains_key(owner))
    }

    /// The pods whose owners lead to `key`.
    pub(super) fn pods_of(&self, key: &TargetKey) -> impl Iterator<Item = PodId> + '_ {
        let space = self.0.get(&key.namespace);
        let owners = space.and_then(|space| Some((space, space.by_target.get(key)?)));
        owners.into_iter().flat_map(|(space, owners)| {
            let owned = owners.iter().filter_map(|owner| space.owners.get(owner));
            owned.flat_map(|owned| owned.pods.iter().copied())
        })
    }

    /// Whether pods lead to `key`.
    pub(super) fn lead_to(&self, key: &TargetKey) -> bool {
        let space = self.0.get(&key.namespace);
        space.is_some_and(|space| space.by_target.contains_key(key))
    }

    /// How many owners of a namespace are not followed yet, and the first of them.
    pub(super) fn pending(&self, namespace: &str) -> Option<(usize, &Owner)> {
        let pending = &self.0.get(namespace)?.pending;
        Some((pending.len(), pending.first()?))
    }

    /// A workload is in the namespace from now on. The owners to ask the API server for.
    pub(super) fn workload_comes(&mut self, namespace: &str) -> Vec<Arc<Owner>> {
        let space = self.0.entry(namespace.into()).or_default();
        space.workloads += 1;
        if space.workloads > 1 {
            return Vec::new();
        }
        let unasked = space.owners.iter_mut().filter_map(|(owner, owned)| {
            let ask = owned.ask();
            ask.then(|| Arc::clone(owner))
        });
        let unasked: Vec<_> = unasked.collect();
        space.pending.extend(unasked.iter().cloned());
        unasked
    }

    /// One workload of the namespace is gone.
    pub(super) fn workload_goes(&mut self, namespace: &str) {
        if let Some(space) = self.0.get_mut(namespace) {
            space.workloads = space.workloads.saturating_sub(1);
            self.tidy(namespace);
        }
    }

    /// Workloads in a namespace.
    pub(super) fn workloads_in(&self, namespace: &str) -> usize {
        self.0.get(namespace).map_or(0, |space| space.workloads)
    }

    /// Owners kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|space| space.owners.len()).sum()
    }

    fn tidy(&mut self, namespace: &str) {
        if self
            .0
            .get(namespace)
            .is_some_and(|space| space.workloads == 0 && space.owners.is_empty())
        {
            self.0.remove(namespace);
        }
    }
}

impl Space {
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
    /// Whether it is to be asked for now, which happens once.
    fn ask(&mut self) -> bool {
        let unasked = self.state == State::Unasked;
        if unasked {
            self.state = State::Pending;
        }
        unasked
    }
}
