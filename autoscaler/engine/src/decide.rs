//! Decides due workloads, and turns decisions into effects.

use std::{sync::Arc, time::Duration};

use ebb_autoscaler_core::{Facts, Timestamp, Workload, annotations::Mode};
use ebb_page_model::Seen;

use super::{
    Engine,
    effect::{Effect, Notice, Order},
    entry::{Decided, ScaleWrite, WorkloadState},
    names::WorkloadId,
    owners::Owners,
    queueing::Queueing,
    scale_down_candidates,
    unknown::{REPORTED_AFTER, Unknown},
};

/// Decisions of one workload are at least this far apart, however many sources request one: a burst reaches many nodes
/// at once, and each of them requests a decision.
const BETWEEN_DECISIONS: Duration = Duration::from_millis(50);

/// Most workloads that are decided in one call, which takes half a millisecond. Thousands of workloads can be due at
/// once (one namespace can create them), and they must not delay the reports of others.
const AT_A_TIME: usize = 64;

/// A workload that somebody else has scaled to zero is decided this often, and at once when it has pods or requests
/// again.
const PAUSED_AGAIN: Duration = Duration::from_secs(10);

/// Why a workload is brought back from zero.
const CUT_OFF: &str = "no request can reach it through an activator";
const OPTED_OUT: &str = "it does not ask to be scaled any more";

impl Engine {
    /// Requests a decision: at once, or as soon as `BETWEEN_DECISIONS` has passed since the last one.
    pub(super) fn request_decision(&mut self, now: Timestamp, id: WorkloadId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let earliest = match &entry.last {
            // The first request that is queued at zero waits for nothing.
            Some(last) if last.queued == 0 && entry.is_asleep() => now,
            Some(last) => last.decision.at + BETWEEN_DECISIONS,
            None => now,
        };
        if self.schedule_at(id, earliest.max(now)) <= now {
            self.decide(now, id);
        }
    }

    /// Decides the workloads that are due, at most [`AT_A_TIME`] of them. Returns when to call again at the latest;
    /// this is `now` or earlier if more are due.
    pub fn decide_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.routing.tick(now);
        if !self.deciding || self.config.is_none() {
            return None;
        }
        let due = self.due.iter().filter(|(_, due)| **due <= now);
        let due: Vec<_> = due.map(|(id, _)| *id).take(AT_A_TIME).collect();
        for id in due {
            self.decide(now, id);
        }
        self.due.values().copied().min()
    }

    /// Schedules a decision at `at`, unless an earlier one is scheduled. Returns the scheduled time.
    pub(super) fn schedule_at(&mut self, id: WorkloadId, at: Timestamp) -> Timestamp {
        let due = self.due.entry(id).or_insert(at);
        *due = at.min(*due);
        *due
    }

    fn decide(&mut self, now: Timestamp, id: WorkloadId) {
        if !self.deciding {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            self.due.remove(&id);
            return;
        };
        let mut members: Vec<_> = Vec::with_capacity(entry.pods.len());
        let (mut ready, mut in_flight, mut opaque, mut measured) = (0, 0, 0, false);
        for &id in &entry.pods {
            if let Some(pod) = self.pods.get(id) {
                ready += u32::from(pod.facts.ready);
                in_flight += pod.in_flight();
                opaque += pod.series.as_ref().map_or(0, |series| series.opaque);
                measured |= pod.is_measured();
                members.push(id);
            }
        }
        self.due.insert(id, entry.next(now, None));
        let can_be_queued = match self.queueing {
            Queueing::Nowhere => false,
            Queueing::Activators => self.routing.can_be_queued(entry),
            Queueing::Proxy => true,
        };
        if can_be_queued != entry.can_be_queued {
            entry.can_be_queued = can_be_queued;
            // The resolved settings depend on it.
            self.validate(now, id);
        }
        let target = self.entries.get(&id).map(|entry| &entry.target.key);
        let stale = target.and_then(|key| self.stale_facts(key));
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let replicas = entry.replicas();
        let Some(workload) = entry.begin(now, ready) else {
            return;
        };
        let mut without_metrics = Vec::new();
        for member in members {
            let Some(pod) = self.pods.get_mut(member) else {
                continue;
            };
            let is_stale = pod.is_stale(now);
            if is_stale {
                without_metrics.push(pod.facts.name.clone());
            }
            let deleting = pod.facts.deleting;
            let Some(series) = &mut pod.series else {
                continue;
            };
            match series.to_extend(now).filter(|_| !deleting) {
                Some(span) => {
                    // Values that make no sense were refused when they were reported.
                    let _ =
                        workload.observe(&mut series.feed, now, span.concurrency, span.requests);
                }
                None => workload.settle(now, &mut series.feed),
            }
        }
        let queued = self.routing.update_queued(now, entry);
        let is_always_proxied = self.queueing == Queueing::Proxy;
        let is_path_confirmed =
            is_always_proxied || entry.can_be_queued && self.routing.is_path_confirmed(entry, now);
        entry.path_confirmed_since =
            is_path_confirmed.then(|| entry.path_confirmed_since.unwrap_or(now));
        let unknown = unknown(
            stale.as_ref(),
            &self.owners,
            entry,
            &without_metrics,
            measured,
        );
        entry.knows(now, unknown);
        let Some(workload) = &mut entry.workload else {
            return;
        };
        let facts = Facts {
            stale: entry.unknown.is_some(),
            activator_answers: Some(answers(now, workload, entry.path_confirmed_since)),
            // A proxy that is always there says nothing about how long the workload has been idle.
            proxying_since: entry.path_confirmed_since.filter(|_| !is_always_proxied),
            ..Facts::local(ready, replicas)
        };
        let decision = workload.decide(now, &facts);
        let proxy = match decision.step.want {
            // Nothing is known yet, for example after a start: activators in the request path stay, and none is added.
            None if replicas > 0 => entry.proxy,
            _ => Some((decision.step.proxy, decision.step.activators)),
        };
        entry.proxy = proxy;
        if let Some(again) = decision.step.again {
            let again = entry.next(now, Some(again.max(BETWEEN_DECISIONS)));
            self.due.insert(id, again);
        }
        self.decisions.count(&decision.reason.basis);
        let seen = Seen {
            load: (in_flight + queued) as f64,
            ready: facts.ready,
            replicas,
        };
        entry.memory.record(&decision, &seen);
        entry.last = Some(Decided {
            decision,
            facts,
            in_flight,
            opaque,
            queued,
            without_metrics,
        });
        self.routing.follow(now, entry);
        if entry.is_paused() {
            self.due.insert(id, now + PAUSED_AGAIN);
        }
        self.act(id);
        let left = self.entries.get(&id).filter(|entry| self.may_leave(entry));
        if let Some(key) = left.map(|entry| entry.target.key.clone()) {
            self.target_gone(now, &key);
        }
    }

    /// Turns the last decision into an order or a recommendation.
    fn act(&mut self, id: WorkloadId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if !self.leading {
            return;
        }
        let decided = entry.last.as_ref().map(|last| last.decision.at);
        if decided.is_some_and(|now| self.routing.is_cut_off(entry, now)) {
            self.effects.extend(entry.brought_back(CUT_OFF));
            return;
        }
        if entry.is_leaving {
            if entry.replicas() == 0 && self.routing.is_ours_at_zero(entry) {
                self.effects.extend(entry.brought_back(OPTED_OUT));
            }
            return;
        }
        if entry.refusal.is_some() || entry.is_paused() {
            return;
        }
        self.effects.extend(entry.report_unknown());
        let Some(last) = &entry.last else {
            return;
        };
        let from = entry.replicas();
        // Zero is ordered only while an activator is in the request path: otherwise nothing would receive the request
        // that wakes the workload.
        let step = &last.decision.step;
        // While only the last pod has to stay, further pods are of no use.
        let only_last = || (step.want == Some(0) && from > 1).then_some(1);
        let to = step.apply.or_else(only_last);
        let to = to.filter(|&pods| {
            pods > 0
                || self.queueing == Queueing::Proxy
                || (last.may_be_zero(entry) && self.routing.is_marked(entry))
        });
        // The decision already guarantees this. It is enforced here as well, because here a violation would do harm.
        let to = to.filter(|&pods| pods >= from || entry.unknown.is_none());
        if entry.mode == Mode::Recommend || self.recommend_only {
            if to.is_some() && to != entry.recommended {
                self.effects.push(Effect::Say(Notice {
                    about: entry.target.key.clone(),
                    uid: entry.target.uid.clone(),
                    warning: false,
                    reason: "Recommended",
                    note: format!(
                        "from {from} to {}: {}",
                        to.unwrap_or(from),
                        last.decision.reason
                    ),
                }));
            }
            entry.recommended = to;
            return;
        }
        let Some(to) = to else { return };
        let costs = if to < from && entry.target.minds_deletion_costs() {
            let pods = entry.pods.iter().filter_map(|&pod| self.pods.get(pod));
            scale_down_candidates::costs(pods, from - to)
        } else {
            Vec::new()
        };
        entry.ordered = Some(to);
        self.effects.push(Effect::Scale(Order {
            workload: id,
            target: entry.target.key.clone(),
            uid: entry.target.uid.clone(),
            resource_version: entry.target.resource_version.clone(),
            written_version: None,
            from,
            to,
            reason: last.decision.reason.to_string(),
            costs,
        }));
    }

    /// Records the result of an order. What was not done is decided again with the next decision.
    pub fn written(&mut self, now: Timestamp, order: Order, error: Option<String>) {
        let Some(entry) = self.entries.get_mut(&order.workload) else {
            return;
        };
        if entry.ordered == Some(order.to) {
            entry.ordered = None;
        }
        // The watch will soon report the same state; until then nothing has to be ordered twice. If the watch has
        // reported a change since the decision, that change is this write or a later one, and an older version must not
        // overwrite it: every further write with it would be refused.
        if error.is_none() && entry.target.resource_version == order.resource_version {
            entry.target.replicas = order.to;
            if let Some(version) = &order.written_version {
                entry.target.resource_version.clone_from(version);
            }
        }
        entry.written = Some(ScaleWrite {
            at: now,
            order,
            error,
        });
    }
}

impl WorkloadState {
    /// Returns the order that brings it back from zero, for a workload that Ebb scaled to zero and that no request can
    /// wake any more. Neither invalid annotations nor a conflicting autoscaler is a reason to leave it at zero.
    fn brought_back(&mut self, why: &str) -> Option<Effect> {
        let replicas = self.min_scale().max(1);
        if self.ordered == Some(replicas) {
            return None;
        }
        self.ordered = Some(replicas);
        Some(Effect::Scale(Order {
            workload: self.id,
            target: self.target.key.clone(),
            uid: self.target.uid.clone(),
            resource_version: self.target.resource_version.clone(),
            written_version: None,
            from: self.target.replicas,
            to: replicas,
            reason: format!("brought back from zero: {why}"),
            costs: Vec::new(),
        }))
    }

    /// Returns an Event about what has been unknown for `REPORTED_AFTER`, once for as long as something stays unknown.
    fn report_unknown(&mut self) -> Option<Effect> {
        let (unknown, since) = self.unknown.as_ref()?;
        let at = self.last.as_ref()?.decision.at;
        if self.unknown_reported || !unknown.needs_attention() || at.since(*since) < REPORTED_AFTER
        {
            return None;
        }
        self.unknown_reported = true;
        Some(Effect::Say(Notice {
            about: self.target.key.clone(),
            uid: self.target.uid.clone(),
            warning: true,
            reason: "ScaleDownBlocked",
            note: format!("not scaled down until this is known: {unknown}"),
        }))
    }
}

/// Returns the first thing that is not known about a workload. `measured`: whether any of its pods has been measured.
fn unknown(
    stale_facts: Option<&Arc<str>>,
    owners: &Owners,
    entry: &WorkloadState,
    without_metrics: &[Box<str>],
    measured: bool,
) -> Option<Unknown> {
    if let Some(why) = stale_facts {
        return Some(Unknown::Facts(Arc::clone(why)));
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

impl Engine {
    /// Records that an order was refused because the object has changed since the decision. A new decision follows at
    /// once if the watch has already reported the change, otherwise as soon as it does.
    pub fn overtaken(&mut self, now: Timestamp, order: &Order) {
        let Some(entry) = self.entries.get_mut(&order.workload) else {
            return;
        };
        if entry.ordered == Some(order.to) {
            entry.ordered = None;
        }
        entry.overtaken = entry.target.resource_version == order.resource_version;
        if !entry.overtaken {
            self.request_decision(now, order.workload);
        }
    }
}

impl Decided {
    /// Returns whether the activators have been in the request path for the grace period, so that no request bypasses
    /// them.
    fn may_be_zero(&self, entry: &WorkloadState) -> bool {
        let grace = entry.grace();
        let since = self.facts.proxying_since;
        entry.can_be_queued && since.is_some_and(|since| self.decision.at.since(since) >= grace)
    }
}

/// Returns whether the activators answer for a workload: they are in its request path. Once the workload has been idle
/// for the grace period, they must also have been there for the grace period, in which every node's kube-proxy learns
/// their addresses.
fn answers(now: Timestamp, workload: &Workload, path_confirmed_since: Option<Timestamp>) -> bool {
    let grace = workload.settings().scale_to_zero_grace;
    let idle = now.since(workload.status().since);
    path_confirmed_since.is_some_and(|since| idle < grace || now.since(since) >= grace)
}
