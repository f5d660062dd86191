//! A workload that opts out while Ebb has it at zero: it gets a pod first, and only then is it left alone.
//!
//! Bias: towards a pod. Failure mode: while its pod does not become ready, the workload goes on being led through the
//! activators, which queue its requests.

use ebb_autoscaler_core::Timestamp;
use ebb_contract::opt_in;

use super::{Engine, entry::Entry, front::Fronts, names::TargetKey, target::TargetFacts};

impl Engine {
    /// Takes in an object that does not ask to be scaled. One that Ebb has scaled to zero is left later.
    pub(super) fn target_opted_out(&mut self, now: Timestamp, facts: TargetFacts) {
        let known = self.ids.get(&facts.key).copied();
        let entry = known.and_then(|id| self.entries.get_mut(&id));
        if let Some(entry) = entry.filter(|entry| entry.target.uid == facts.uid)
            && (entry.is_leaving
                || needs_a_pod(&self.fronts, self.activator, entry, facts.replicas))
        {
            entry.is_leaving = true;
            entry.target.replicas = facts.replicas;
            entry.target.resource_version = facts.resource_version;
            let id = entry.id;
            return self.press(now, id);
        }
        self.target_gone(now, &facts.key);
        // What slices say of it may come later, as long as this replica is starting.
        if !self.deciding && facts.replicas == 0 {
            self.opted_out_at_zero.insert(facts.key.clone(), facts);
        }
    }

    /// At the start: takes on what a leader before has scaled to zero and what has opted out since.
    pub(super) fn take_on_opted_out(&mut self, now: Timestamp) {
        let mut candidates = std::mem::take(&mut self.opted_out_at_zero);
        let named: Vec<TargetKey> = self.fronts.workloads_at_zero().collect();
        for key in named {
            let Some(mut facts) = candidates.remove(&key) else {
                continue;
            };
            // Its settings are gone with its class; the defaults do to bring it back.
            facts.annotations = [(opt_in::CLASS_KEY.to_owned(), opt_in::CLASS.to_owned())].into();
            self.take_on(now, facts);
            let entry = self.ids.get(&key).and_then(|id| self.entries.get_mut(id));
            if let Some(entry) = entry {
                entry.is_leaving = true;
            }
        }
    }

    /// Whether a leaving workload may be left: nodes are told of a pod of it wherever requests come in, or somebody else has
    /// scaled it to zero meanwhile.
    pub(super) fn may_leave(&self, entry: &Entry) -> bool {
        let has_what_it_needs = match entry.replicas() {
            0 => !self.fronts.is_ours_at_zero(entry),
            _ => self.fronts.all_lead_to_pods(entry),
        };
        entry.is_leaving && has_what_it_needs
    }
}

/// Whether requests to a workload that has opted out would find nobody, if it were left now.
fn needs_a_pod(fronts: &Fronts, activator: bool, entry: &Entry, replicas: u32) -> bool {
    match replicas {
        0 => fronts.is_ours_at_zero(entry),
        // It has just been woken.
        _ => activator && !fronts.all_lead_to_pods(entry),
    }
}
