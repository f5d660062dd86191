//! One pod: its state as reported by the API server, and its load as reported by the node.

use std::sync::Arc;

use ebb_autoscaler_core::Timestamp;
use ebb_contract::CountedAt;

use super::{
    names::{Owner, WorkloadId},
    series::Series,
};

/// Number of a pod in this process, unique among the existing pods. After a pod is deleted, its number may be reused
/// for another pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodId(pub(super) usize);

/// A pod as the API server reports it, reduced to the fields that decisions use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// Name of the node of the pod; `None` before the pod is scheduled.
    pub node: Option<Box<str>>,
    /// Whether the pod can take requests: it is ready and is not being deleted.
    pub ready: bool,
    /// Whether the pod is being deleted.
    pub deleting: bool,
    /// Whether the annotations of the pod itself opt in.
    pub opted_in: bool,
    /// Controlling owner of the pod; `None` for a pod without an owner. All pods with the same owner share one
    /// allocation, to save memory.
    pub owner: Option<Arc<Owner>>,
    /// `controller.kubernetes.io/pod-deletion-cost`; `None` if it is missing or not a number.
    pub deletion_cost: Option<i32>,
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
}

/// A pod with its reported load.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) facts: PodFacts,
    /// The workload of the pod; `None`: the workload is not known, or the pod has none.
    pub(super) workload: Option<WorkloadId>,
    pub(super) series: Option<Series>,
    /// The hop at which the pod is counted, by its last report. Pods of a workload with the same choice share one
    /// allocation.
    pub(super) counted_at: Option<Arc<CountedAt<'static>>>,
    /// Why the pod is not counted, by the last report about it; `None`: it is counted, or there is no report.
    pub(super) not_counted: Option<Box<str>>,
}

impl Pod {
    pub(super) fn new(facts: PodFacts) -> Self {
        Self {
            facts,
            workload: None,
            series: None,
            counted_at: None,
            not_counted: None,
        }
    }

    /// Replaces the facts about the pod by newer facts. The owner of the pod must be unchanged. Returns whether the pod
    /// has become ready.
    pub(super) fn update(&mut self, mut facts: PodFacts) -> bool {
        let serves_now = facts.ready && !self.facts.ready;
        // Keeps the shared pointer to the owner, so that all pods with the same owner use one allocation.
        facts.owner = self.facts.owner.take();
        self.facts = facts;
        serves_now
    }

    /// Returns whether the pod may be serving requests and has no current metrics. The result is true for a pod that
    /// has just become ready: a scale-down can wait a second for the first report. The result is false for a pod that
    /// is being deleted, because such a pod gets no new requests. The result is also false for a pod that is not ready
    /// and has never been reported, because such a pod has never received a request.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        let without_metrics = self.series.as_ref().map(|series| series.is_stale(now));
        !self.facts.deleting && without_metrics.unwrap_or(self.facts.ready)
    }

    /// Returns whether the load of the pod has been measured: either by two reports, or by one report with counters
    /// that had just started.
    pub(super) fn is_measured(&self) -> bool {
        self.series.as_ref().is_some_and(Series::is_measured)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.series.as_ref().map_or(0, |series| series.in_flight)
    }
}
