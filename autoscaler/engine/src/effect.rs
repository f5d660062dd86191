//! Effects: actions that the engine requests from its caller. The engine does no I/O itself.

use std::sync::Arc;

use super::names::{Owner, TargetKey, WorkloadId};

/// An action that the caller of the engine is to carry out, such as a write to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Scale a workload.
    Scale(Order),
    /// Publish an Event about an object.
    Say(Notice),
    /// Resolve this owner of pods to the topmost scalable object in the chain of owners.
    ResolveOwner {
        /// Namespace of the pods and of their owner.
        namespace: Box<str>,
        /// The owner of the pods.
        owner: Arc<Owner>,
    },
    /// Check whether this object exists and is a topmost scalable object. One of Ebb's EndpointSlices names the object
    /// as its workload.
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
    /// `metadata.resourceVersion` of the object that the decision is based on.
    pub resource_version: Box<str>,
    /// `metadata.resourceVersion` of the object after the write; `None` before the write.
    pub written_version: Option<Box<str>>,
    /// Requested replicas (`spec.replicas`) before the order.
    pub from: u32,
    /// Requested replicas (`spec.replicas`) after the order.
    pub to: u32,
    /// Reason of the decision, as text.
    pub reason: String,
    /// Deletion costs to set on pods before the write, so that the pods with the fewest requests in flight are removed.
    pub costs: Vec<DeletionCost>,
}

/// A pod's `controller.kubernetes.io/pod-deletion-cost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionCost {
    /// Name of the pod. The pod is in the namespace of the workload to scale.
    pub pod: Box<str>,
    /// Uid of the pod.
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
    /// Whether the Event needs attention (Event type `Warning`).
    pub warning: bool,
    /// Reason of the Event, for programs, e.g. `ScaledUp`.
    pub reason: &'static str,
    /// Note of the Event, for people.
    pub note: String,
}
