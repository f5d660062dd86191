//! What is known of an object that can be scaled.

use std::collections::BTreeMap;

use ebb_autoscaler_core::annotations::KNATIVE;

use super::names::TargetKey;

/// The class that asks for this autoscaler.
pub const CLASS: &str = "ebb.dev";

/// A scalable object as the API server tells it, reduced to what a decision needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// What it is called.
    pub key: TargetKey,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// Pods it is asked to have: `spec.replicas`, 1 where it does not say.
    pub replicas: u32,
    /// The annotations of its pod template; those of the object itself where it has no template.
    pub annotations: BTreeMap<String, String>,
    /// The labels of its pods; none where it has no template.
    pub labels: BTreeMap<String, String>,
    /// Whether another object controls it. Then it is scaled only where pods lead to it and no further: a ReplicaSet has
    /// the annotations of its Deployment's template too, and is the Deployment's to scale.
    pub owned: bool,
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
}

impl TargetFacts {
    /// Whether it asks for this autoscaler.
    #[must_use]
    pub fn opted_in(&self) -> bool {
        opted_in(&self.annotations)
    }

    /// Whether pods are removed by their deletion cost. A StatefulSet removes the highest ordinal.
    pub(super) fn minds_deletion_costs(&self) -> bool {
        *self.key.kind != *"StatefulSet"
    }
}

/// Whether annotations, of a pod or a pod template, ask for this autoscaler.
#[must_use]
pub fn opted_in(annotations: &BTreeMap<String, String>) -> bool {
    let class = annotations
        .iter()
        .find(|(key, _)| key.strip_prefix(KNATIVE) == Some("class"));
    class.is_some_and(|(_, class)| class == CLASS)
}
