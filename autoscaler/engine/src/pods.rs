//! All pods, by number. A large cluster works through some hundred thousand pods of workloads a second, and none of
//! them is looked up by name.

use std::collections::HashMap;

use slab::Slab;

use super::pod::Pod;

/// A pod's number in this process, unique among the pods that exist. It is reused when the pod is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodId(usize);

/// The table of all pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<Box<str>, PodId>,
    table: Slab<Pod>,
}

impl Pods {
    /// Returns the number of the pod with this `metadata.uid`.
    pub(super) fn find(&self, uid: &str) -> Option<PodId> {
        self.by_uid.get(uid).copied()
    }

    /// Adds a pod whose uid must not be known yet.
    pub(super) fn insert(&mut self, pod: Pod) -> PodId {
        let uid = pod.facts.uid.clone();
        let id = PodId(self.table.insert(pod));
        self.by_uid.insert(uid, id);
        id
    }

    /// Removes the pod with this uid.
    pub(super) fn remove(&mut self, uid: &str) -> Option<(PodId, Pod)> {
        let id = self.by_uid.remove(uid)?;
        Some((id, self.table.try_remove(id.0)?))
    }

    pub(super) fn get(&self, id: PodId) -> Option<&Pod> {
        self.table.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: PodId) -> Option<&mut Pod> {
        self.table.get_mut(id.0)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}
