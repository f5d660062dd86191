//! A scalable object, as the API server reports it.

use std::collections::BTreeMap;

use ebb_autoscaler_core::annotations;
use ebb_contract::opt_in;

use super::names::TargetKey;

/// Maximum size in bytes of the labels and of the annotations that Ebb reads, in total for one object. For comparison:
/// the API allows 256 KiB of annotations per object, and all keys of Ebb with long values need about a twentieth of
/// this size (13 KiB).
const MOST_BYTES: usize = 16 * 1024;

/// A scalable object as the API server reports it, reduced to the fields that decisions use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetFacts {
    /// Group, kind, namespace and name.
    pub key: TargetKey,
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.resourceVersion` of this state of the object.
    pub resource_version: Box<str>,
    /// Requested replicas: `spec.replicas`, or 1 if this field is not set.
    pub replicas: u32,
    /// Annotations of the pod template, or of the object itself if the object has no pod template. Only the keys that
    /// Ebb reads.
    pub annotations: BTreeMap<String, String>,
    /// Labels of the pod template; empty without a pod template.
    pub labels: BTreeMap<String, String>,
    /// Total size of the annotations and labels in bytes if the size exceeds the limit; otherwise 0. If the size
    /// exceeds the limit, only the class annotation is kept.
    pub oversized: usize,
    /// Whether another object controls this object. A controlled object is scaled only if it is the topmost scalable
    /// object for its pods. Example: a ReplicaSet has the annotations of its Deployment's pod template, but must not be
    /// scaled, because the Deployment scales it.
    pub owned: bool,
    /// `metadata.creationTimestamp`, Unix seconds.
    pub created: i64,
}

impl TargetFacts {
    /// Removes the annotations that Ebb does not read, and applies the size limit. Without the limit, anybody who can
    /// write an object could fill the memory of the autoscaler.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.annotations.retain(|key, _| annotations::is_read(key));
        let pairs = self.annotations.iter().chain(&self.labels);
        let bytes = pairs.map(|(key, value)| key.len() + value.len()).sum();
        if bytes > MOST_BYTES {
            self.oversized = bytes;
            self.annotations
                .retain(|key, value| is_class(key) && value == opt_in::CLASS);
            self.labels.clear();
        }
        self
    }

    /// Returns the error message if the annotations and labels exceed the limit.
    pub(super) fn complaint(&self) -> Option<String> {
        (self.oversized > 0).then(|| {
            format!(
                "not scaled: annotations and labels of its pod template have {} bytes; at most {MOST_BYTES} are allowed",
                self.oversized
            )
        })
    }

    /// Returns whether the object has opted in.
    #[must_use]
    pub fn opted_in(&self) -> bool {
        opted_in(&self.annotations)
    }

    /// Returns whether the controller of the object removes pods by deletion cost. A StatefulSet removes the pod with
    /// the highest ordinal instead.
    pub(super) fn minds_deletion_costs(&self) -> bool {
        *self.key.kind != *"StatefulSet"
    }
}

/// Returns whether the annotations of a pod or of a pod template opt in to this autoscaler.
#[must_use]
pub fn opted_in(annotations: &BTreeMap<String, String>) -> bool {
    opt_in::is_opted_in(annotations.get(opt_in::CLASS_KEY).map(String::as_str))
}

fn is_class(key: &str) -> bool {
    key == opt_in::CLASS_KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_what_a_tenant_writes_is_bounded_and_said() {
        let class = (opt_in::CLASS_KEY.to_owned(), opt_in::CLASS.to_owned());
        let facts = TargetFacts {
            key: TargetKey::new("apps", "Deployment", "shop", "web"),
            uid: "u".into(),
            resource_version: "1".into(),
            replicas: 1,
            annotations: [
                class.clone(),
                ("other.example/x".to_owned(), "x".repeat(200_000)),
            ]
            .into(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            oversized: 0,
            owned: false,
            created: 0,
        };
        let kept = facts.clone().bounded();
        assert_eq!((kept.annotations.len(), kept.complaint()), (1, None));
        let mut large = facts;
        let value = "x".repeat(20_000);
        large
            .annotations
            .insert("ebb.dev/exclude-paths".to_owned(), value);
        let kept = large.bounded();
        assert_eq!(kept.annotations, [class].into());
        assert!(kept.opted_in() && kept.labels.is_empty());
        assert!(kept.complaint().unwrap().contains("at most 16384"));
    }
}
