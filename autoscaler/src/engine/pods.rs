//! All pods, by number: whoever works through the pods of a workload, some hundred thousand a second in a large cluster,
//! looks none of them up by name.

use std::collections::HashMap;

use slab::Slab;

use super::pod::Pod;

/// A pod's number in this process: of those there are no two have the same. Given anew when a pod is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodId(usize);

/// The pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<Box<str>, PodId>,
    table: Slab<Pod>,
}

impl Pods {
    /// The number of the pod with this `metadata.uid`.
    pub(super) fn find(&self, uid: &str) -> Option<PodId> {
        self.by_uid.get(uid).copied()
    }

    /// Adds a pod; its uid is not known yet.
    pub(super) fn insert(&mut self, pod: Pod) -> PodId {
        let uid = pod.facts.uid.clone();
        let id = PodId(self.table.insert(pod));
        self.by_uid.insert(uid, id);
        id
    }

    /// Takes the pod with this uid out.
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
