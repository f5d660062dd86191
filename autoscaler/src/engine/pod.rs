//! What is known of a pod: from the API server that it is there, from its node what it serves.

use std::sync::Arc;

use ebb_autoscaler_core::Timestamp;

use super::{
    names::{Owner, WorkloadId},
    series::Series,
};

/// A pod as the API server tells it, reduced to what a decision needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
    /// The node it was bound to.
    pub node: Option<Box<str>>,
    /// Whether it can take requests: ready, and not being deleted.
    pub ready: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether its own annotations ask for this autoscaler.
    pub opted_in: bool,
    /// Who made it; `None` for a bare pod. One for all pods that have it.
    pub owner: Option<Arc<Owner>>,
    /// `controller.kubernetes.io/pod-deletion-cost`, as far as it is a number.
    pub deletion_cost: Option<i32>,
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
}

/// A pod with its figures.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) facts: PodFacts,
    /// What it belongs to, and scales.
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

    /// Whether it may be serving and nobody says how much. One that has just become ready counts too: its workload has
    /// just grown, and can wait a second before it shrinks. One that is being deleted gets no new requests, and one
    /// that is not ready and was never heard of never got any.
    pub(super) fn is_silent(&self, now: Timestamp) -> bool {
        let silent = self.series.as_ref().map(|series| series.is_silent(now));
        !self.facts.deleting && silent.unwrap_or(self.facts.ready)
    }

    /// Whether two readings of it, or one that began with it, have told its load.
    pub(super) fn is_measured(&self) -> bool {
        self.series.as_ref().is_some_and(Series::is_measured)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.series.as_ref().map_or(0, |series| series.in_flight)
    }
}
