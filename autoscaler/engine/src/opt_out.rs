//! Opt-out of a workload that Ebb scaled to zero: the workload gets a pod first, and only after that does Ebb stop
//! managing the workload.
//!
//! Bias: towards a running pod, even if no request needs the pod. Failure mode: while the pod does not become ready,
//! the activators stay in the request path and queue the requests.

use std::collections::HashMap;

use ebb_contract::opt_in;

use super::{
    names::TargetKey, queueing::Queueing, routing::ServiceRouting, target::TargetFacts,
    workload_state::WorkloadState,
};

/// Objects with zero replicas that have not opted in, collected while the autoscaler starts. At the end of the start,
/// the EndpointSlices show which of these objects Ebb scaled to zero. The objects are collected because an
/// EndpointSlice may be reported later than its object.
#[derive(Debug, Default)]
pub(super) struct OptedOutAtZero(HashMap<TargetKey, TargetFacts>);

impl OptedOutAtZero {
    pub(super) fn add(&mut self, facts: TargetFacts) {
        self.0.insert(facts.key.clone(), facts);
    }

    pub(super) fn remove(&mut self, key: &TargetKey) {
        self.0.remove(key);
    }

    /// Removes all collected objects. Returns those that an earlier leader scaled to zero, and that opted out
    /// afterwards.
    pub(super) fn take_workloads(&mut self, routing: &ServiceRouting) -> Vec<TargetFacts> {
        let mut candidates = std::mem::take(&mut self.0);
        let named = routing.workloads_at_zero();
        let workloads = named.filter_map(|key| {
            let mut facts = candidates.remove(&key)?;
            // The annotations with the settings may have been removed together with the class annotation. The defaults
            // are enough to scale the workload up from zero.
            facts.annotations = [(opt_in::CLASS_KEY.to_owned(), opt_in::CLASS.to_owned())].into();
            Some(facts)
        });
        workloads.collect()
    }
}

impl WorkloadState {
    /// Records that the object has opted out. Returns whether the workload still needs a ready pod before Ebb can stop
    /// managing the workload.
    pub(super) fn opts_out(
        &mut self,
        facts: &TargetFacts,
        queueing: Queueing,
        routing: &ServiceRouting,
    ) -> bool {
        let needs_a_pod = || match facts.replicas {
            0 => routing.is_ours_at_zero(self),
            // A pod of the workload may be starting and not be ready yet.
            _ => queueing.has_activators() && !routing.all_lead_to_pods(self),
        };
        let stays = self.target.uid == facts.uid && (self.is_opting_out || needs_a_pod());
        if stays {
            self.is_opting_out = true;
            self.target.replicas = facts.replicas;
            self.target
                .resource_version
                .clone_from(&facts.resource_version);
        }
        stays
    }

    /// Returns whether Ebb can stop managing a workload that has opted out: every Service of the workload has a ready
    /// endpoint of a pod, or somebody other than Ebb has scaled the workload to zero.
    pub(super) fn may_leave(&self, routing: &ServiceRouting) -> bool {
        let has_what_it_needs = || match self.replicas() {
            0 => !routing.is_ours_at_zero(self),
            _ => routing.all_lead_to_pods(self),
        };
        self.is_opting_out && has_what_it_needs()
    }
}
