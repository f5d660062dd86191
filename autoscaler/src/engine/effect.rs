//! What the engine wants done. It does nothing itself.

use std::sync::Arc;

use super::names::{Owner, TargetKey, WorkloadId};

/// Something to do outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Have a workload scaled.
    Scale(Order),
    /// Tell the users of an object.
    Say(Notice),
    /// Find out what is to be scaled where a pod of this owner is.
    Follow {
        /// Namespace of pod and owner.
        namespace: Box<str>,
        /// The pod's owner.
        owner: Arc<Owner>,
    },
    /// Find out whether this exists and is the topmost object that can be scaled: a slice of ours names it.
    Confirm(TargetKey),
}

/// Have a workload scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Which one.
    pub workload: WorkloadId,
    /// What to scale.
    pub target: TargetKey,
    /// Its uid, so that a successor of the same name is not meant.
    pub uid: Box<str>,
    /// `metadata.resourceVersion` of the state it was decided on; once it is carried out, of the state it has made.
    pub resource_version: Box<str>,
    /// The version that the write has made, once it is done.
    pub written_version: Option<Box<str>>,
    /// Pods it is asked to have now.
    pub from: u32,
    /// Pods it shall have.
    pub to: u32,
    /// Why, in words.
    pub reason: String,
    /// What the pods' deletion costs must be before, so that the right ones go.
    pub costs: Vec<DeletionCost>,
}

/// A pod's `controller.kubernetes.io/pod-deletion-cost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionCost {
    /// Name of the pod; its namespace is the target's.
    pub pod: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// The cost to set; `None`: take it away.
    pub cost: Option<i32>,
}

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    /// Whom it regards.
    pub about: TargetKey,
    /// Its uid; empty where it is not known.
    pub uid: Box<str>,
    /// Whether somebody should look at it.
    pub warning: bool,
    /// For machines, e.g. `ScaledUp`.
    pub reason: &'static str,
    /// For people.
    pub note: String,
}
