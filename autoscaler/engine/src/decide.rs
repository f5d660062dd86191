//! Makes the decision for one workload, and creates the scale order or the Event that follows from the decision.

use std::sync::Arc;

use ebb_autoscaler_core::{Decision, Facts, Timestamp, Workload};
use ebb_page_model::WorkloadSample;

use super::{
    counted_at::CountedPods,
    effect::{Effect, Notice, Order},
    outbox::Outbox,
    owners::Owners,
    pods::{PodTotals, Pods},
    queueing::Queueing,
    routing::ServiceRouting,
    scale_down_candidates,
    unknown::{REPORTED_AFTER, Unknown},
    workload_state::{ActivatorNeed, DecisionRecord, WorkloadState},
};

/// Reason of a scale-up from zero that no request has caused.
const CUT_OFF: &str = "no request can reach the workload through an activator";
const OPTED_OUT: &str = "the workload has opted out";

impl WorkloadState {
    /// Makes and records a decision. `without_metrics`: names of the pods without current metrics; `counted`: where the
    /// pods are counted.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        pods: PodTotals,
        queued: u64,
        without_metrics: Vec<Box<str>>,
        counted: CountedPods,
        is_always_proxied: bool,
    ) -> Option<&Decision> {
        let replicas = self.replicas();
        let workload = self.workload.as_mut()?;
        let facts = Facts {
            stale: self.unknown.is_some(),
            activator_answers: Some(answers(now, workload, self.path_confirmed_since)),
            // The proxy of `ebb run` is always in the request path, so its time in the path is no evidence that the
            // workload is idle.
            proxying_since: self.path_confirmed_since.filter(|_| !is_always_proxied),
            ..Facts::local(pods.ready, replicas)
        };
        let decision = workload.decide(now, &facts);
        self.activators = match decision.step.want {
            // No decision is possible yet, for example after the autoscaler has started. So activators in the request
            // path remain, and no activator is added.
            None if replicas > 0 => self.activators,
            _ => Some(ActivatorNeed {
                in_path: decision.step.proxy,
                count: decision.step.activators,
            }),
        };
        let sample = WorkloadSample {
            load: (pods.in_flight + queued) as f64,
            ready: facts.ready,
            replicas,
        };
        self.memory.record(&decision, &sample);
        let decided = self.last.insert(DecisionRecord {
            decision,
            facts,
            in_flight: pods.in_flight,
            opaque: pods.opaque,
            queued,
            without_metrics,
            counted,
        });
        Some(&decided.decision)
    }

    /// Turns the last decision into a scale order or a recommendation, if either is needed.
    pub(super) fn act(
        &mut self,
        queueing: Queueing,
        routing: &ServiceRouting,
        pods: &Pods,
        outbox: &mut Outbox,
    ) {
        let decided = self.last.as_ref().map(|last| last.decision.at);
        if decided.is_some_and(|now| routing.is_cut_off(self, now)) {
            return self.bring_back(CUT_OFF, outbox);
        }
        if self.is_opting_out {
            if self.replicas() == 0 && routing.is_ours_at_zero(self) {
                self.bring_back(OPTED_OUT, outbox);
            }
            return;
        }
        if self.refusal.is_some() || self.is_paused() {
            return;
        }
        self.report_unknown(outbox);
        let Some(last) = &self.last else {
            return;
        };
        let from = self.replicas();
        // A scale order to zero is created only while an activator is in the request path. Otherwise nothing would
        // receive the request that wakes the workload.
        let step = &last.decision.step;
        // Zero replicas are desired but not allowed yet: all pods except the last one are removed.
        let only_last = || (step.want == Some(0) && from > 1).then_some(1);
        let to = step.apply.or_else(only_last);
        let to = to.filter(|&pods| {
            pods > 0
                || queueing == Queueing::Proxy
                || (last.may_be_zero(self) && routing.is_annotated(self))
        });
        // While a fact about the workload is missing, no order reduces the replicas. The decision already guarantees
        // this; the check here is a second safeguard.
        let to = to.filter(|&pods| pods >= from || self.unknown.is_none());
        if self.recommends() {
            if to.is_some() && to != self.recommended {
                outbox.say(Notice {
                    about: self.target.key.clone(),
                    uid: self.target.uid.clone(),
                    warning: false,
                    reason: "Recommended",
                    note: format!(
                        "from {from} to {}: {}",
                        to.unwrap_or(from),
                        last.decision.reason
                    ),
                });
            }
            self.recommended = to;
            return;
        }
        let Some(to) = to else { return };
        let costs = if to < from && self.target.minds_deletion_costs() {
            let members = self.pods.iter().filter_map(|&pod| pods.get(pod));
            scale_down_candidates::costs(members, from - to)
        } else {
            Vec::new()
        };
        self.ordered = Some(to);
        outbox.push(Effect::Scale(Order {
            workload: self.id,
            target: self.target.key.clone(),
            uid: self.target.uid.clone(),
            resource_version: self.target.resource_version.clone(),
            written_version: None,
            from,
            to,
            reason: last.decision.reason.to_string(),
            costs,
        }));
    }

    /// Orders at least one replica for a workload that Ebb scaled to zero, because no request can wake the workload any
    /// more or because the workload has opted out. Invalid annotations and a conflicting autoscaler do not prevent this
    /// order.
    fn bring_back(&mut self, why: &str, outbox: &mut Outbox) {
        let replicas = self.min_scale().max(1);
        if self.ordered == Some(replicas) {
            return;
        }
        self.ordered = Some(replicas);
        outbox.push(Effect::Scale(Order {
            workload: self.id,
            target: self.target.key.clone(),
            uid: self.target.uid.clone(),
            resource_version: self.target.resource_version.clone(),
            written_version: None,
            from: self.target.replicas,
            to: replicas,
            reason: format!("brought back from zero: {why}"),
            costs: Vec::new(),
        }));
    }

    /// Publishes an Event if a fact about the workload has been missing for `REPORTED_AFTER`. The next Event follows
    /// only after a time in which no fact was missing.
    fn report_unknown(&mut self, outbox: &mut Outbox) {
        let (Some((unknown, since)), Some(last)) = (&self.unknown, &self.last) else {
            return;
        };
        let at = last.decision.at;
        if self.unknown_reported || !unknown.needs_attention() || at.since(*since) < REPORTED_AFTER
        {
            return;
        }
        self.unknown_reported = true;
        outbox.say(Notice {
            about: self.target.key.clone(),
            uid: self.target.uid.clone(),
            warning: true,
            reason: "ScaleDownBlocked",
            note: format!("not scaled down because information is missing: {unknown}"),
        });
    }
}

/// Returns the first missing fact about a workload; `None`: no fact is missing. `measured`: whether the load of at
/// least one pod has been measured.
pub(super) fn unknown(
    stale_facts: Option<Arc<str>>,
    owners: &Owners,
    entry: &WorkloadState,
    without_metrics: &[Box<str>],
    measured: bool,
) -> Option<Unknown> {
    if let Some(why) = stale_facts {
        return Some(Unknown::Facts(why));
    }
    if let Some((count, owner)) = owners.pending(&entry.target.key.namespace) {
        let example = format!("{} {}", owner.kind, owner.name).into();
        return Some(Unknown::Owners { count, example });
    }
    if let Some(example) = without_metrics.first() {
        return Some(Unknown::Metrics {
            count: without_metrics.len(),
            example: example.clone(),
        });
    }
    let begins = entry.known_since.is_none() && entry.replicas() > 0;
    (begins && !measured).then_some(Unknown::Unmeasured)
}

impl DecisionRecord {
    /// Returns whether the workload may be scaled to zero: the activators have been in the request path for the grace
    /// period, so that no request bypasses the activators.
    fn may_be_zero(&self, entry: &WorkloadState) -> bool {
        let grace = entry.grace();
        let since = self.facts.proxying_since;
        entry.can_be_queued && since.is_some_and(|since| self.decision.at.since(since) >= grace)
    }
}

/// Returns whether the activators receive the requests to a workload: the path switch must be confirmed. Once the
/// workload has been idle for the grace period, the path must also have been confirmed for the grace period, because
/// the kube-proxy of every node needs this time to use the new addresses.
fn answers(now: Timestamp, workload: &Workload, path_confirmed_since: Option<Timestamp>) -> bool {
    let grace = workload.settings().scale_to_zero_grace;
    let idle = now.since(workload.status().since);
    path_confirmed_since.is_some_and(|since| idle < grace || now.since(since) >= grace)
}
