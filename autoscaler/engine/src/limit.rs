//! The limit of workloads in a namespace: all namespaces share memory and decision time.
//!
//! Bias: the workloads that came first stay. A workload beyond the limit is not scaled, an Event says so, and it is
//! taken in when there is room. Failure mode: a workload beyond the limit costs no more than its entry in a map.

use std::collections::{BTreeMap, HashMap};

use super::{effect::Notice, names::TargetKey, outbox::Outbox, target::TargetFacts};

/// The limit, and the workloads beyond it.
#[derive(Debug)]
pub(super) struct NamespaceLimit {
    /// Most workloads of one namespace.
    pub(super) most: usize,
    /// Workloads beyond the limit, by namespace.
    beyond: HashMap<Box<str>, BTreeMap<TargetKey, TargetFacts>>,
}

impl Default for NamespaceLimit {
    /// Kubernetes itself is tested with 10 000 Services in a cluster, and no namespace needs more workloads than that.
    fn default() -> Self {
        Self {
            most: 10_000,
            beyond: HashMap::new(),
        }
    }
}

impl NamespaceLimit {
    /// Returns the facts if their namespace, which has `workloads` already, has room. Otherwise stores them, with an
    /// Event for the first one.
    pub(super) fn admit(
        &mut self,
        facts: TargetFacts,
        workloads: usize,
        outbox: &mut Outbox,
    ) -> Option<TargetFacts> {
        if workloads < self.most {
            return Some(facts);
        }
        let (about, uid) = (facts.key.clone(), facts.uid.clone());
        let beyond = self.beyond.entry(about.namespace.clone()).or_default();
        let first = beyond.is_empty();
        beyond.insert(about.clone(), facts);
        if first {
            outbox.say(Notice {
                note: format!(
                    "not scaled: namespace {} has {} workloads already, the most that \
                     --max-workloads-per-namespace allows; further ones are not scaled either",
                    about.namespace, self.most
                ),
                about,
                uid,
                warning: true,
                reason: "NamespaceLimit",
            });
        }
        None
    }

    /// Removes a workload beyond the limit.
    pub(super) fn remove(&mut self, key: &TargetKey) {
        if let Some(beyond) = self.beyond.get_mut(&key.namespace) {
            beyond.remove(key);
            if beyond.is_empty() {
                self.beyond.remove(&key.namespace);
            }
        }
    }

    /// Removes and returns the next workload to take in, when its namespace has room again.
    pub(super) fn next(&mut self, namespace: &str) -> Option<TargetFacts> {
        let beyond = self.beyond.get_mut(namespace)?;
        let next = beyond.pop_first().map(|(_, facts)| facts);
        if beyond.is_empty() {
            self.beyond.remove(namespace);
        }
        next
    }

    /// Returns the number of workloads beyond the limit, over all namespaces.
    pub(super) fn beyond(&self) -> usize {
        self.beyond.values().map(BTreeMap::len).sum()
    }
}
