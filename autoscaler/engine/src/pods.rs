//! The table of all pods, indexed by number. In a large cluster, decisions read about a hundred thousand pods a second,
//! so a decision finds a pod by its number, not by its name.

use std::collections::{BTreeSet, HashMap};

use ebb_autoscaler_core::Timestamp;
use slab::Slab;

use super::{
    pod::{Pod, PodFacts, PodId},
    workload_state::WorkloadState,
    workloads::Workloads,
};

/// The table of all pods.
#[derive(Debug, Default)]
pub(super) struct Pods {
    by_uid: HashMap<Box<str>, PodId>,
    table: Slab<Pod>,
}

/// Sums over the pods of a workload.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PodTotals {
    pub(super) ready: u32,
    pub(super) in_flight: u64,
    pub(super) opaque: u64,
    /// Whether the load of at least one of the pods has been measured.
    pub(super) measured: bool,
}

impl Pods {
    /// Returns the pod with this `metadata.uid`.
    pub(super) fn find_mut(&mut self, uid: &str) -> Option<&mut Pod> {
        self.table.get_mut(self.by_uid.get(uid)?.0)
    }

    /// Adds a pod. The table must not contain a pod with the same uid.
    pub(super) fn insert(&mut self, pod: Pod) -> PodId {
        let uid = pod.facts.uid.clone();
        let id = PodId(self.table.insert(pod));
        self.by_uid.insert(uid, id);
        id
    }

    /// Removes the pod with this uid from the table and from its workload. The pod serves no requests any more, so its
    /// series in the metric windows of the workload ends.
    pub(super) fn remove(
        &mut self,
        uid: &str,
        workloads: &mut Workloads,
    ) -> Option<(PodId, PodFacts)> {
        let id = self.by_uid.remove(uid)?;
        let pod = self.table.try_remove(id.0)?;
        if let Some(entry) = pod.workload.and_then(|id| workloads.get_mut(id)) {
            entry.pods.remove(&id);
            if let (Some(workload), Some(series)) = (&mut entry.workload, pod.series) {
                workload.end(series.feed);
            }
        }
        Some((id, pod.facts))
    }

    pub(super) fn get(&self, id: PodId) -> Option<&Pod> {
        self.table.get(id.0)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds pods to the workload that owns the pods.
    pub(super) fn join(
        &mut self,
        entry: &mut WorkloadState,
        pods: impl IntoIterator<Item = PodId>,
    ) {
        for id in pods {
            if let Some(pod) = self.table.get_mut(id.0) {
                pod.workload = Some(entry.id);
                entry.pods.insert(id);
            }
        }
    }

    /// Removes a pod from its workload, and ends the series of the pod in the metric windows of the workload.
    pub(super) fn leave(&mut self, id: PodId, workloads: &mut Workloads) {
        let Some(pod) = self.table.get_mut(id.0) else {
            return;
        };
        let Some(workload) = pod.workload.take() else {
            return;
        };
        let series = pod.series.take();
        if let Some(entry) = workloads.get_mut(workload) {
            entry.pods.remove(&id);
            if let (Some(workload), Some(series)) = (&mut entry.workload, series) {
                workload.forget(series.feed);
            }
        }
    }

    /// Records that the workload of `pods` was removed.
    pub(super) fn workload_gone(&mut self, pods: &BTreeSet<PodId>) {
        for id in pods {
            if let Some(pod) = self.table.get_mut(id.0) {
                // The pod has no workload any more, so its series is dropped. The metric windows that contain its
                // measurements were removed together with the workload.
                pod.series = None;
                pod.workload = None;
            }
        }
    }

    /// Returns the totals over `pods`: ready pods, requests in flight and opaque connections.
    pub(super) fn totals(&self, pods: &BTreeSet<PodId>) -> PodTotals {
        let mut totals = PodTotals::default();
        for pod in pods.iter().filter_map(|&id| self.get(id)) {
            totals.ready += u32::from(pod.facts.ready);
            totals.in_flight += pod.in_flight();
            totals.opaque += pod.series.as_ref().map_or(0, |series| series.opaque);
            totals.measured |= pod.is_measured();
        }
        totals
    }

    /// Updates the metric windows of a workload up to `now`. If the report of a pod is late, the last measured load of
    /// the pod is assumed to continue. Returns the names of the pods without current metrics.
    pub(super) fn update_windows(
        &mut self,
        now: Timestamp,
        entry: &mut WorkloadState,
    ) -> Vec<Box<str>> {
        let mut without_metrics = Vec::new();
        let Some(workload) = &mut entry.workload else {
            return without_metrics;
        };
        for id in &entry.pods {
            let Some(pod) = self.table.get_mut(id.0) else {
                continue;
            };
            if pod.is_stale(now) {
                without_metrics.push(pod.facts.name.clone());
            }
            let deleting = pod.facts.deleting;
            let Some(series) = &mut pod.series else {
                continue;
            };
            match series.to_extend(now).filter(|_| !deleting) {
                Some(span) => {
                    // `observe` fails only for an invalid load, which was rejected when the report arrived.
                    let _ =
                        workload.observe(&mut series.feed, now, span.concurrency, span.requests);
                }
                None => workload.settle(now, &mut series.feed),
            }
        }
        without_metrics
    }
}
