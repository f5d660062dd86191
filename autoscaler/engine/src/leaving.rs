//! A workload that opts out while Ebb has it at zero: it gets a pod first, and only then is it left alone.
//!
//! Bias: towards a pod. Failure mode: while its pod does not become ready, the activators stay in its request path and
//! queue its requests.

use std::collections::HashMap;

use ebb_contract::opt_in;

use super::{
    entry::WorkloadState, names::TargetKey, queueing::Queueing, routing::ServiceRouting,
    target::TargetFacts,
};

/// During the start: objects at zero that have not opted in, until it is known which of them Ebb scaled to zero. The
/// slices that name an object may be reported later than the object.
#[derive(Debug, Default)]
pub(super) struct OptedOutAtZero(HashMap<TargetKey, TargetFacts>);

impl OptedOutAtZero {
    pub(super) fn add(&mut self, facts: TargetFacts) {
        self.0.insert(facts.key.clone(), facts);
    }

    pub(super) fn remove(&mut self, key: &TargetKey) {
        self.0.remove(key);
    }

    /// Removes all objects. Returns those that an earlier leader scaled to zero and that have opted out since.
    pub(super) fn take_workloads(&mut self, routing: &ServiceRouting) -> Vec<TargetFacts> {
        let mut candidates = std::mem::take(&mut self.0);
        let named = routing.workloads_at_zero();
        let workloads = named.filter_map(|key| {
            let mut facts = candidates.remove(&key)?;
            // Its settings went with its class annotation; the defaults are enough to bring it back from zero.
            facts.annotations = [(opt_in::CLASS_KEY.to_owned(), opt_in::CLASS.to_owned())].into();
            Some(facts)
        });
        workloads.collect()
    }
}

impl WorkloadState {
    /// Takes in that the object, with these facts, has opted out. Returns whether the workload still needs a pod before
    /// it is left alone.
    pub(super) fn opts_out(
        &mut self,
        facts: &TargetFacts,
        queueing: Queueing,
        routing: &ServiceRouting,
    ) -> bool {
        let needs_a_pod = || match facts.replicas {
            0 => routing.is_ours_at_zero(self),
            // It may just have been woken.
            _ => queueing.has_activators() && !routing.all_lead_to_pods(self),
        };
        let stays = self.target.uid == facts.uid && (self.is_leaving || needs_a_pod());
        if stays {
            self.is_leaving = true;
            self.target.replicas = facts.replicas;
            self.target
                .resource_version
                .clone_from(&facts.resource_version);
        }
        stays
    }

    /// Returns whether a leaving workload may be left alone: every Service of it has a ready endpoint of a pod, or
    /// somebody else has scaled it to zero in the meantime.
    pub(super) fn may_leave(&self, routing: &ServiceRouting) -> bool {
        let has_what_it_needs = || match self.replicas() {
            0 => !routing.is_ours_at_zero(self),
            _ => routing.all_lead_to_pods(self),
        };
        self.is_leaving && has_what_it_needs()
    }
}
