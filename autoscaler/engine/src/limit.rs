//! The limit of workloads in a namespace: all namespaces share memory and decision time.
//!
//! Bias: the workloads that came first stay. A workload beyond the limit is not scaled, an Event says so, and it is
//! taken in when there is room. Failure mode: a workload beyond the limit costs no more than its entry in a map.

use std::collections::{BTreeMap, HashMap};

use super::{
    Engine,
    effect::{Effect, Notice},
    names::TargetKey,
    target::TargetFacts,
};

/// Most workloads of one namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct MostWorkloads(usize);

impl Default for MostWorkloads {
    /// Kubernetes itself is tested with 10 000 Services in a cluster, and no namespace needs more workloads than that.
    fn default() -> Self {
        Self(10_000)
    }
}

/// Workloads beyond the limit, by namespace.
#[derive(Debug, Default)]
pub(super) struct BeyondLimit(HashMap<Box<str>, BTreeMap<TargetKey, TargetFacts>>);

impl BeyondLimit {
    /// Adds a workload beyond the limit. Returns whether it is the first one of its namespace.
    fn add(&mut self, facts: TargetFacts) -> bool {
        let namespace = self.0.entry(facts.key.namespace.clone()).or_default();
        let first = namespace.is_empty();
        namespace.insert(facts.key.clone(), facts);
        first
    }

    pub(super) fn remove(&mut self, key: &TargetKey) {
        if let Some(namespace) = self.0.get_mut(&key.namespace) {
            namespace.remove(key);
            if namespace.is_empty() {
                self.0.remove(&key.namespace);
            }
        }
    }

    /// Removes and returns the next workload to take in, when its namespace has room again.
    pub(super) fn next(&mut self, namespace: &str) -> Option<TargetFacts> {
        let waiting = self.0.get_mut(namespace)?;
        let next = waiting.pop_first().map(|(_, facts)| facts);
        if waiting.is_empty() {
            self.0.remove(namespace);
        }
        next
    }

    /// Returns the number of workloads beyond the limit, over all namespaces.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

impl Engine {
    /// Sets the limit of workloads in one namespace.
    #[must_use]
    pub fn with_most_workloads(mut self, most: usize) -> Self {
        self.most_workloads = MostWorkloads(most);
        self
    }

    /// Returns the facts if their namespace has room; otherwise stores them, with an Event for the first one.
    pub(super) fn within_limit(&mut self, facts: TargetFacts) -> Option<TargetFacts> {
        if self.owners.workloads_in(&facts.key.namespace) < self.most_workloads.0 {
            return Some(facts);
        }
        let (about, uid) = (facts.key.clone(), facts.uid.clone());
        if self.beyond_limit.add(facts) {
            self.effects.push(Effect::Say(Notice {
                note: format!(
                    "not scaled: namespace {} has {} workloads already, the most that \
                     --max-workloads-per-namespace allows; further ones are not scaled either",
                    about.namespace, self.most_workloads.0
                ),
                about,
                uid,
                warning: true,
                reason: "NamespaceLimit",
            }));
        }
        None
    }
}
