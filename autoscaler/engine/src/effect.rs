//! Effects: what the engine wants done. The engine does nothing itself.

use std::sync::Arc;

use super::names::{Owner, TargetKey, WorkloadId};

/// An action for the caller of the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Scale a workload.
    Scale(Order),
    /// Publish an Event about an object.
    Say(Notice),
    /// Find the object that is to be scaled for the pods of this owner.
    Follow {
        /// Namespace of the pods and of their owner.
        namespace: Box<str>,
        /// The owner of the pods.
        owner: Arc<Owner>,
    },
    /// Find out whether this object exists and is the topmost one that can be scaled: one of Ebb's slices names it.
    Confirm(TargetKey),
}

/// An order to scale a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The workload.
    pub workload: WorkloadId,
    /// The object to scale.
    pub target: TargetKey,
    /// Uid of the object, so that a later object of the same name is not scaled.
    pub uid: Box<str>,
    /// `metadata.resourceVersion` of the state that the decision was made on; after the write, of the state that the
    /// write has made.
    pub resource_version: Box<str>,
    /// `metadata.resourceVersion` that the write has made; `None` before the write.
    pub written_version: Option<Box<str>>,
    /// Requested replicas before the order.
    pub from: u32,
    /// Requested replicas after the order.
    pub to: u32,
    /// The reason, as text.
    pub reason: String,
    /// Deletion costs to set on pods before the write, so that the right pods are removed.
    pub costs: Vec<DeletionCost>,
}

/// A pod's `controller.kubernetes.io/pod-deletion-cost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionCost {
    /// Name of the pod; its namespace is the target's.
    pub pod: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// The cost to set; `None`: remove the annotation.
    pub cost: Option<i32>,
}

/// The content of an Event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    /// The object that the Event is about.
    pub about: TargetKey,
    /// Uid of the object; empty if it is not known.
    pub uid: Box<str>,
    /// Whether it needs attention (Event type `Warning`).
    pub warning: bool,
    /// Reason for programs, e.g. `ScaledUp`.
    pub reason: &'static str,
    /// Note for people.
    pub note: String,
}
