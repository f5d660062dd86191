//! How many workloads a namespace may have: memory and decisions are shared by all namespaces.
//!
//! Bias: who came first stays. What is beyond the limit is not scaled, an Event says so, and it is taken in when there is
//! room. Failure mode: none of it costs more than its place in a map.

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
    /// Kubernetes itself is tested with 10 000 Services in a cluster; no namespace needs more workloads than that.
    fn default() -> Self {
        Self(10_000)
    }
}

/// Workloads that do not fit, by namespace.
#[derive(Debug, Default)]
pub(super) struct BeyondLimit(HashMap<Box<str>, BTreeMap<TargetKey, TargetFacts>>);

impl BeyondLimit {
    /// Takes in what does not fit; whether it is the first of its namespace.
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

    /// The next one to be taken in, now that there is room in its namespace.
    pub(super) fn next(&mut self, namespace: &str) -> Option<TargetFacts> {
        let waiting = self.0.get_mut(namespace)?;
        let next = waiting.pop_first().map(|(_, facts)| facts);
        if waiting.is_empty() {
            self.0.remove(namespace);
        }
        next
    }

    /// How many do not fit, in all namespaces.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}

impl Engine {
    /// Sets the most workloads that one namespace may have.
    #[must_use]
    pub fn with_most_workloads(mut self, most: usize) -> Self {
        self.most_workloads = MostWorkloads(most);
        self
    }

    /// Passes on what fits into its namespace.
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
