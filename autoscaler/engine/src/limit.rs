//! The maximum number of workloads in a namespace. The limit exists because all namespaces share memory and decision
//! time.
//!
//! Bias: workloads that were added before the namespace reached the limit are still scaled. A workload beyond the limit
//! is not scaled, and an Event about the first such workload reports this. When another workload is removed, a workload
//! beyond the limit is added. Failure mode: a workload beyond the limit uses memory only for its entry in a map.

use std::collections::{BTreeMap, HashMap};

use super::{effect::Notice, names::TargetKey, outbox::Outbox, target::TargetFacts};

/// The maximum number of workloads in a namespace, and the workloads beyond this limit.
#[derive(Debug)]
pub(super) struct NamespaceLimit {
    /// Maximum number of workloads in one namespace.
    pub(super) most: usize,
    /// Workloads beyond the limit, by namespace.
    beyond: HashMap<Box<str>, BTreeMap<TargetKey, TargetFacts>>,
}

impl Default for NamespaceLimit {
    /// 10 000 workloads per namespace: Kubernetes itself is tested with 10 000 Services in a whole cluster.
    fn default() -> Self {
        Self {
            most: 10_000,
            beyond: HashMap::new(),
        }
    }
}

impl NamespaceLimit {
    /// Checks whether a new workload fits into its namespace, which already has `workloads` workloads. Below the limit,
    /// the facts about the new workload are returned. Otherwise they are stored, and an Event is published about the
    /// first workload beyond the limit.
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
                    "not scaled: namespace {} already has {} workloads, the limit of \
                     --max-workloads-per-namespace; further workloads are not scaled either",
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

    /// Removes the stored facts about a workload beyond the limit.
    pub(super) fn remove(&mut self, key: &TargetKey) {
        if let Some(beyond) = self.beyond.get_mut(&key.namespace) {
            beyond.remove(key);
            if beyond.is_empty() {
                self.beyond.remove(&key.namespace);
            }
        }
    }

    /// Called after a workload of the namespace was removed: removes and returns the stored facts about a workload that
    /// was beyond the limit and can be added now.
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
