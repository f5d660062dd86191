//! A workload that opts out while Ebb has it at zero: it gets a pod first, and only then is it left alone.
//!
//! Bias: towards a pod. Failure mode: while its pod does not become ready, the activators stay in its request path and
//! queue its requests.

use ebb_autoscaler_core::Timestamp;
use ebb_contract::opt_in;

use super::{
    Engine, entry::WorkloadState, names::TargetKey, queueing::Queueing, routing::ServiceRouting,
    target::TargetFacts,
};

impl Engine {
    /// Takes in an object that has not opted in. A workload that Ebb has scaled to zero is removed later.
    pub(super) fn target_opted_out(&mut self, now: Timestamp, facts: TargetFacts) {
        let known = self.ids.get(&facts.key).copied();
        let entry = known.and_then(|id| self.entries.get_mut(&id));
        if let Some(entry) = entry.filter(|entry| entry.target.uid == facts.uid)
            && (entry.is_leaving
                || needs_a_pod(&self.routing, self.queueing, entry, facts.replicas))
        {
            entry.is_leaving = true;
            entry.target.replicas = facts.replicas;
            entry.target.resource_version = facts.resource_version;
            let id = entry.id;
            return self.request_decision(now, id);
        }
        self.target_gone(now, &facts.key);
        // While this replica starts, the slices that name the object may be reported later than the object.
        if !self.deciding && facts.replicas == 0 {
            self.opted_out_at_zero.insert(facts.key.clone(), facts);
        }
    }

    /// During the start: takes in workloads that an earlier leader scaled to zero and that have opted out since.
    pub(super) fn take_on_opted_out(&mut self, now: Timestamp) {
        let mut candidates = std::mem::take(&mut self.opted_out_at_zero);
        let named: Vec<TargetKey> = self.routing.workloads_at_zero().collect();
        for key in named {
            let Some(mut facts) = candidates.remove(&key) else {
                continue;
            };
            // Its settings went with its class annotation; the defaults are enough to bring it back from zero.
            facts.annotations = [(opt_in::CLASS_KEY.to_owned(), opt_in::CLASS.to_owned())].into();
            self.take_on(now, facts);
            let entry = self.ids.get(&key).and_then(|id| self.entries.get_mut(id));
            if let Some(entry) = entry {
                entry.is_leaving = true;
            }
        }
    }

    /// Returns whether a leaving workload may be left alone: every Service of it has a ready endpoint of a pod, or
    /// somebody else has scaled it to zero in the meantime.
    pub(super) fn may_leave(&self, entry: &WorkloadState) -> bool {
        let has_what_it_needs = match entry.replicas() {
            0 => !self.routing.is_ours_at_zero(entry),
            _ => self.routing.all_lead_to_pods(entry),
        };
        entry.is_leaving && has_what_it_needs
    }
}

/// Returns whether requests to a workload that has opted out would find no pod if the workload were left alone now.
fn needs_a_pod(
    routing: &ServiceRouting,
    queueing: Queueing,
    entry: &WorkloadState,
    replicas: u32,
) -> bool {
    match replicas {
        0 => routing.is_ours_at_zero(entry),
        // It may just have been woken.
        _ => queueing.has_activators() && !routing.all_lead_to_pods(entry),
    }
}
