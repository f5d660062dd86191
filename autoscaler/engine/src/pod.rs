//! One pod: its existence from the API server, and its figures from its node.

use std::sync::Arc;

use ebb_autoscaler_core::Timestamp;

use super::{
    names::{Owner, WorkloadId},
    series::Series,
};

/// A pod's number in this process, unique among the pods that exist. It is reused when the pod is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodId(pub(super) usize);

/// A pod as the API server reports it, reduced to what a decision needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// The node that it is bound to; `None` before it is scheduled.
    pub node: Option<Box<str>>,
    /// Whether it can take requests: it is ready and is not being deleted.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its own annotations opt in.
    pub opted_in: bool,
    /// Its controlling owner; `None` for a bare pod. All pods of an owner share one allocation.
    pub owner: Option<Arc<Owner>>,
    /// `controller.kubernetes.io/pod-deletion-cost`; `None` if it is missing or not a number.
    pub deletion_cost: Option<i32>,
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
}

/// A pod with its figures.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) facts: PodFacts,
    /// The workload that it belongs to.
    pub(super) workload: Option<WorkloadId>,
    pub(super) series: Option<Series>,
}

impl Pod {
    pub(super) fn new(facts: PodFacts) -> Self {
        Self {
            facts,
            workload: None,
            series: None,
        }
    }

    /// Takes in a newer state of a pod with the same owner. Returns whether it has become ready.
    pub(super) fn update(&mut self, mut facts: PodFacts) -> bool {
        let serves_now = facts.ready && !self.facts.ready;
        // Keeps the allocation that pods of the same owner share.
        facts.owner = self.facts.owner.take();
        self.facts = facts;
        serves_now
    }

    /// Returns whether it may be serving and has no current metrics. This includes a pod that has just become ready:
    /// its workload has just grown, and can wait a second before it shrinks. It excludes a pod that is being deleted,
    /// which gets no new requests, and a pod that is not ready and has never been reported, which never got any.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        let without_metrics = self.series.as_ref().map(|series| series.is_stale(now));
        !self.facts.deleting && without_metrics.unwrap_or(self.facts.ready)
    }

    /// Returns whether its load has been measured, by two reports or by one that covers its counters from their
    /// beginning.
    pub(super) fn is_measured(&self) -> bool {
        self.series.as_ref().is_some_and(Series::is_measured)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.series.as_ref().map_or(0, |series| series.in_flight)
    }
}
