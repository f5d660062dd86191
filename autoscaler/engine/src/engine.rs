//! The engine: it passes each fact to the components that it concerns, and has the workloads decided that should be.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ebb_autoscaler_core::{Config, Decision, Timestamp};
use ebb_contract::{ActivatorReport, Receipt, Report, allotments::Allotment};
use ebb_page_model::{Detail, Name, Workload};

use super::{
    decide::unknown,
    decision_counts::DecisionCounts,
    effect::{Effect, Order},
    freshness::Freshness,
    leaving::OptedOutAtZero,
    names::{Owner, TargetKey, WorkloadId},
    outbox::Outbox,
    owners::Followed,
    ownership::Ownership,
    pod::PodFacts,
    pods::Pods,
    queueing::Queueing,
    reports::{Reports, Scope},
    routing::{ObservedSlice, Outcome, Path, RoutingFigures, ServiceFacts, ServiceRouting},
    target::TargetFacts,
    view::Figures,
    workloads::Workloads,
};

/// Senders and activators without a report for this long are removed.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// The state of the autoscaler for the whole cluster.
#[derive(Debug, Default)]
pub struct Engine {
    queueing: Queueing,
    /// Whether the initial lists of all watches are complete.
    pub(super) deciding: bool,
    freshness: Freshness,
    pub(super) workloads: Workloads,
    pub(super) ownership: Ownership,
    opted_out_at_zero: OptedOutAtZero,
    pods: Pods,
    reports: Reports,
    /// How requests reach each workload: directly, or through the activators.
    pub(super) routing: ServiceRouting,
    decisions: DecisionCounts,
    outbox: Outbox,
}

/// Sizes of the engine's collections.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) workloads: usize,
    pub(super) due: usize,
    pub(super) pods: usize,
    pub(super) owners: usize,
}

/// Settings, and what this replica may do.
impl Engine {
    /// Creates an engine that knows nothing yet.
    #[must_use]
    pub fn new(queueing: Queueing) -> Self {
        Self {
            queueing,
            ..Self::default()
        }
    }

    /// Makes the engine decide and report, and never scale, whatever the workloads ask for.
    #[must_use]
    pub fn recommending(mut self) -> Self {
        self.workloads.recommend_only = true;
        self
    }

    /// Sets the limit of workloads in one namespace.
    #[must_use]
    pub fn with_most_workloads(mut self, most: usize) -> Self {
        self.workloads.limit.most = most;
        self
    }

    /// Sets the most proxied Service ports of one namespace.
    #[must_use]
    pub fn with_most_ports(mut self, most: usize) -> Self {
        self.routing.limit_ports(most);
        self
    }

    /// Takes out the effects since the last call.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.outbox.take()
    }

    /// Sets whether this replica leads. A replica that does not lead still decides, but gives out no orders.
    pub fn lead(&mut self, leading: bool) {
        self.outbox.lead(leading);
        self.workloads.lead(&mut self.outbox);
    }

    /// Begins to decide. To be called when the initial lists of all watches are complete.
    pub fn begin(&mut self, now: Timestamp) {
        for facts in self.opted_out_at_zero.take_workloads(&self.routing) {
            let key = facts.key.clone();
            self.take_on(now, facts);
            if let Some(entry) = self.workloads.find_mut(&key) {
                entry.is_leaving = true;
            }
        }
        self.deciding = true;
    }

    /// Takes in new cluster-wide settings.
    pub fn configure(&mut self, now: Timestamp, config: Config) {
        self.workloads.configure(now, config, &mut self.outbox);
    }

    /// Removes senders without a report for an hour.
    pub fn sweep(&mut self, now: Timestamp) {
        self.reports.sweep(now, FORGET_AFTER);
        self.routing.sweep(now, FORGET_AFTER);
        self.ownership.sweep(self.routing.workloads());
    }
}

/// Facts from the API server.
impl Engine {
    /// Sets why the facts from the API server are stale; `None`: they are current. While they are stale, nothing
    /// shrinks.
    pub fn facts_are(&mut self, stale: Option<String>) {
        self.freshness.set(stale);
    }

    /// Sets why the facts about the objects of one kind are stale. Only workloads of that kind depend on them.
    pub fn kind_facts_are(&mut self, group: &str, kind: &str, stale: Option<String>) {
        self.freshness.set_kind(group, kind, stale);
    }

    /// Returns why the facts about a workload may be stale; `None`: they are current.
    #[must_use]
    pub fn stale_facts(&self, of: &TargetKey) -> Option<Arc<str>> {
        self.freshness.stale(of)
    }

    /// Takes in a scalable object that is new or has changed.
    pub fn target_seen(&mut self, now: Timestamp, facts: TargetFacts) {
        if !facts.opted_in() {
            return self.target_opted_out(now, facts);
        }
        if let Some(entry) = self.workloads.find_mut(&facts.key) {
            if entry.target.uid == facts.uid {
                let (id, change) = (entry.id, entry.update(now, facts));
                if change.labels {
                    self.routing.workload_seen(id, entry);
                }
                if change.annotations {
                    self.workloads.validate(now, id, &mut self.outbox);
                }
                if change.awaited {
                    self.request_decision(now, id);
                } else if change.replicas {
                    self.workloads.schedule_at(id, now);
                }
                return;
            }
            // Another object with the same name.
            self.target_gone(now, &facts.key);
        }
        if let Some(facts) = self.ownership.admit(facts) {
            self.take_on(now, facts);
        }
    }

    /// Adds a workload.
    fn take_on(&mut self, now: Timestamp, facts: TargetFacts) {
        let (workloads, outbox) = (&mut self.workloads, &mut self.outbox);
        let key = facts.key.clone();
        let already = self.ownership.owners.workloads_in(&key.namespace);
        let Some(facts) = workloads.limit.admit(facts, already, outbox) else {
            return;
        };
        let entry = workloads.add(now, facts);
        let id = entry.id;
        let pods = self.ownership.owners.pods_of(&key);
        self.pods.join(entry, pods);
        self.routing.workload_seen(id, entry);
        self.ownership.workload_comes(&key.namespace, outbox);
        workloads.validate(now, id, outbox);
    }

    /// Takes in an object that has not opted in. A workload that Ebb has scaled to zero is removed later.
    fn target_opted_out(&mut self, now: Timestamp, facts: TargetFacts) {
        if let Some(entry) = self.workloads.find_mut(&facts.key)
            && entry.opts_out(&facts, self.queueing, &self.routing)
        {
            let id = entry.id;
            return self.request_decision(now, id);
        }
        self.target_gone(now, &facts.key);
        if !self.deciding && facts.replicas == 0 {
            self.opted_out_at_zero.add(facts);
        }
    }

    /// Takes in that a scalable object was deleted or has opted out.
    pub fn target_gone(&mut self, now: Timestamp, key: &TargetKey) {
        self.ownership.target_gone(key);
        self.workloads.limit.remove(key);
        self.opted_out_at_zero.remove(key);
        let Some(entry) = self.workloads.remove(key) else {
            return;
        };
        self.routing.workload_gone(entry.id, &key.namespace);
        self.pods.workload_gone(&entry.pods);
        self.ownership.owners.workload_goes(&key.namespace);
        if let Some(next) = self.workloads.limit.next(&key.namespace) {
            self.target_seen(now, next);
        }
    }

    /// Takes in a pod that is new or has changed.
    pub fn pod_seen(&mut self, now: Timestamp, facts: PodFacts) {
        if let Some(pod) = self.pods.find_mut(&facts.uid) {
            if pod.facts.owner == facts.owner {
                let is_back = pod.update(facts);
                if let Some(id) = pod.workload.filter(|_| is_back) {
                    self.capacity_back(now, id);
                }
                return;
            }
            // One owner released it and another one adopted it.
            self.pod_gone(&facts.uid);
        }
        let (pods, outbox) = (&mut self.pods, &mut self.outbox);
        if let Some((pod, key)) = self.ownership.pod_seen(facts, pods, outbox)
            && let Some(entry) = self.workloads.find_mut(key)
        {
            self.pods.join(entry, [pod]);
        }
    }

    /// Requests a decision after one more pod became ready: the activators may no longer be needed in the request path.
    fn capacity_back(&mut self, now: Timestamp, id: WorkloadId) {
        let proxied = self.workloads.get(id).and_then(|entry| entry.proxy);
        if self.queueing.has_activators() && proxied.is_some_and(|(proxied, _)| proxied) {
            self.request_decision(now, id);
        }
    }

    /// Takes in that a pod was deleted.
    pub fn pod_gone(&mut self, uid: &str) {
        let removed = self.pods.remove(uid, &mut self.workloads);
        if let Some((id, facts)) = removed
            && let Some(owner) = &facts.owner
        {
            let owners = &mut self.ownership.owners;
            owners.remove(&facts.namespace, owner, id);
        }
    }

    /// Takes in what the owner of pods in `namespace` leads to. A later call may replace the answer.
    pub fn followed(
        &mut self,
        now: Timestamp,
        namespace: &str,
        owner: &Arc<Owner>,
        followed: Followed,
    ) {
        let (pods, outbox) = (&mut self.pods, &mut self.outbox);
        let led_to = self
            .ownership
            .followed(namespace, owner, followed, pods, outbox);
        let Some(led_to) = led_to else { return };
        if led_to.is_moved {
            for &pod in &led_to.pods {
                pods.leave(pod, &mut self.workloads);
            }
        }
        if let Some(entry) = self.workloads.find_mut(&led_to.key) {
            pods.join(entry, led_to.pods);
        }
        if let Some(facts) = led_to.facts {
            self.target_seen(now, facts);
        }
    }

    /// Takes in that a record or a slice of Ebb names `key` as the workload of its Service.
    pub(super) fn slice_leads_to(&mut self, key: TargetKey) {
        if self.workloads.find(&key).is_none() {
            self.ownership.slice_leads_to(key, &mut self.outbox);
        }
    }

    /// Takes in what the API server says about a workload that a slice named: whether it exists and is the topmost
    /// object that can be scaled.
    pub fn confirmed(&mut self, now: Timestamp, key: &TargetKey, followed: Followed) {
        if let Some(facts) = self.ownership.confirmed(key, followed) {
            self.target_seen(now, facts);
        }
    }

    /// Returns whether a slice named `key`, so that an answer about it is still of use.
    #[must_use]
    pub fn is_named_by_slice(&self, key: &TargetKey) -> bool {
        self.ownership.is_named_by_slice(key)
    }

    /// Takes in that the initial list of the objects of a kind is complete.
    pub fn kind_listed(&mut self, group: &str, kind: &str) {
        self.ownership.kind_listed(group, kind);
    }

    /// Returns whether some pod still has this owner.
    #[must_use]
    pub fn is_owner(&self, namespace: &str, owner: &Arc<Owner>) -> bool {
        self.ownership.owners.has(namespace, owner)
    }

    /// Takes in that a conflicting autoscaler scales `target` from now on.
    pub fn conflict_seen(&mut self, now: Timestamp, target: TargetKey, name: String) {
        if let Some(id) = self.workloads.conflict_seen(&target, name) {
            self.workloads.validate(now, id, &mut self.outbox);
        }
    }

    /// Takes in that a conflicting autoscaler no longer scales `target`.
    pub fn conflict_gone(&mut self, now: Timestamp, target: &TargetKey, name: &str) {
        if let Some(id) = self.workloads.conflict_gone(target, name) {
            self.workloads.validate(now, id, &mut self.outbox);
        }
    }
}

/// Reports and decisions.
impl Engine {
    /// Takes in a report, and requests decisions for the workloads that should not wait.
    pub fn report(
        &mut self,
        now: Timestamp,
        scope: Scope<'_>,
        sender: &str,
        report: &Report<'_>,
    ) -> Receipt {
        let (pods, workloads) = (&mut self.pods, &mut self.workloads);
        let (receipt, pressing) = self
            .reports
            .take(now, scope, sender, report, pods, workloads);
        self.request_decisions(now, pressing);
        receipt
    }

    /// Takes in an activator's report, and requests decisions for workloads with queued requests.
    pub fn activator_report(&mut self, now: Timestamp, report: &ActivatorReport) -> Receipt {
        let (receipt, pressing) = self.routing.take_report(now, report, &mut self.workloads);
        self.request_decisions(now, pressing);
        receipt
    }

    fn request_decisions(&mut self, now: Timestamp, pressing: Vec<WorkloadId>) {
        for id in pressing {
            self.request_decision(now, id);
        }
    }

    /// Requests a decision: at once, or as soon as the last one is long enough ago.
    fn request_decision(&mut self, now: Timestamp, id: WorkloadId) {
        if self.workloads.request_decision(now, id) {
            self.decide(now, id);
        }
    }

    /// Decides a limited number of the workloads that are due. Returns when to call again at the latest; this is `now`
    /// or earlier if more are due.
    pub fn decide_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.routing.tick(now);
        if !self.deciding || self.workloads.config().is_none() {
            return None;
        }
        for id in self.workloads.due(now) {
            self.decide(now, id);
        }
        self.workloads.next_due()
    }

    /// Decides a workload, and turns the decision into effects.
    fn decide(&mut self, now: Timestamp, id: WorkloadId) {
        let (workloads, pods, routing) = (&mut self.workloads, &mut self.pods, &mut self.routing);
        let Some(entry) = workloads.get(id).filter(|_| self.deciding) else {
            return;
        };
        let totals = pods.totals(&entry.pods);
        let can_be_queued = match self.queueing {
            Queueing::Nowhere => false,
            Queueing::Activators => routing.can_be_queued(entry),
            Queueing::Proxy => true,
        };
        let entry = workloads.begin_decision(now, id, can_be_queued, &mut self.outbox);
        let Some(entry) = entry else { return };
        if entry.begin(now, totals.ready).is_none() {
            return;
        }
        let without_metrics = pods.update_windows(now, entry);
        let queued = routing.update_queued(now, entry);
        let is_always_proxied = self.queueing == Queueing::Proxy;
        let is_confirmed =
            is_always_proxied || can_be_queued && routing.is_path_confirmed(entry, now);
        entry.path_confirmed_since =
            is_confirmed.then(|| entry.path_confirmed_since.unwrap_or(now));
        let stale_facts = self.freshness.stale(&entry.target.key);
        let owners = &self.ownership.owners;
        let unknown = unknown(
            stale_facts,
            owners,
            entry,
            &without_metrics,
            totals.measured,
        );
        entry.knows(now, unknown);
        let decision = entry.decide(now, totals, queued, without_metrics, is_always_proxied);
        let Some(decision) = decision else { return };
        self.decisions.count(&decision.reason.basis);
        routing.follow(now, entry);
        let again = entry.again(now);
        if self.outbox.is_leading() {
            entry.act(self.queueing, routing, pods, &mut self.outbox);
        }
        let left = entry.may_leave(routing).then(|| entry.target.key.clone());
        if let Some(again) = again {
            workloads.reschedule(id, again);
        }
        if let Some(key) = left {
            self.target_gone(now, &key);
        }
    }

    /// Records the result of an order. What was not done is decided again with the next decision.
    pub fn written(&mut self, now: Timestamp, order: Order, error: Option<String>) {
        self.workloads.written(now, order, error);
    }

    /// Records that an order was refused because the object has changed since the decision. A new decision follows at
    /// once if the watch has already reported the change, otherwise as soon as it does.
    pub fn overtaken(&mut self, now: Timestamp, order: &Order) {
        if self.workloads.overtaken(order) {
            self.request_decision(now, order.workload);
        }
    }
}

/// The request path: facts from the API server, and what is to be written there.
impl Engine {
    /// Takes in a Service that is new or has changed.
    pub fn service_seen(&mut self, facts: ServiceFacts) {
        self.routing.service_seen(facts);
    }

    /// Takes in that a Service was deleted.
    pub fn service_gone(&mut self, namespace: &str, name: &str) {
        self.routing.service_gone(namespace, name);
    }

    /// Takes in a record of a namespace's ports that is new or has changed. `senseless`: number of its keys that cannot
    /// be read; they are ignored.
    pub fn record_seen(
        &mut self,
        now: Timestamp,
        namespace: &str,
        version: Option<&str>,
        allotments: BTreeMap<Box<str>, Allotment>,
        senseless: usize,
    ) {
        let routing = &mut self.routing;
        for key in routing.record_seen(now, namespace, version, allotments, senseless) {
            self.slice_leads_to(key);
        }
    }

    /// Takes in that the record of a namespace's ports was deleted.
    pub fn record_gone(&mut self, now: Timestamp, namespace: &str) {
        self.routing.record_gone(now, namespace);
    }

    /// Takes in a slice that is new or has changed and has the name that Ebb gives to the slice of this Service.
    /// `claims`: whether its label says that Ebb manages it. Only the record decides whether it is Ebb's.
    pub fn slice_seen(
        &mut self,
        namespace: &str,
        service: &str,
        uid: &str,
        claims: bool,
        written: ObservedSlice,
    ) {
        let is_leading = self.outbox.is_leading();
        self.routing
            .slice_seen(namespace, service, uid, claims, written, is_leading);
    }

    /// Takes in that the slice with the name for this Service was deleted.
    pub fn slice_gone(&mut self, namespace: &str, service: &str) {
        self.routing.slice_gone(namespace, service);
    }

    /// Takes in a slice that claims to be managed by Ebb but has a name that Ebb gives to no slice: somebody else wrote
    /// it.
    pub fn foreign_slice_seen(&mut self, now: Timestamp, namespace: &str, slice: &str, uid: &str) {
        let outbox = &mut self.outbox;
        self.routing
            .foreign_slice_seen(now, namespace, slice, uid, outbox);
    }

    /// Takes in that such a slice was deleted, or no longer claims to be managed by Ebb.
    pub fn foreign_slice_gone(&mut self, namespace: &str, slice: &str) {
        self.routing.foreign_slice_gone(namespace, slice);
    }

    /// Takes in a slice of another manager for a Service that is new or has changed. `ready`: whether one of its
    /// endpoints is ready.
    pub fn endpoints_seen(&mut self, namespace: &str, slice: &str, service: &str, ready: bool) {
        self.routing
            .endpoints_seen(namespace, slice, service, ready);
    }

    /// Takes in that a slice of another manager was deleted.
    pub fn endpoints_gone(&mut self, namespace: &str, slice: &str) {
        self.routing.endpoints_gone(namespace, slice);
    }

    /// Returns whether slices should be checked soon, and resets the flag.
    pub fn paths_changed(&mut self) -> bool {
        self.routing.take_changed()
    }

    /// Returns the writes that are to be made now. Each of them is under way until [`Engine::path_done`] is called with
    /// its outcome.
    pub fn paths(&mut self, now: Timestamp) -> Vec<Path> {
        self.routing.tick(now);
        if !self.deciding || !self.outbox.is_leading() || !self.queueing.has_activators() {
            self.routing.pause();
            return Vec::new();
        }
        let (workloads, outbox) = (&self.workloads, &mut self.outbox);
        self.routing.paths(now, workloads, &self.ownership, outbox)
    }

    /// Records the outcome of a write.
    pub fn path_done(&mut self, now: Timestamp, path: &Path, outcome: &Outcome) {
        let (workloads, outbox) = (&self.workloads, &mut self.outbox);
        self.routing
            .path_done(now, path, outcome, workloads, outbox);
    }
}

/// Views, for the page, the API and metrics.
impl Engine {
    /// Returns all workloads, by id.
    pub fn views(&self) -> impl Iterator<Item = Workload> + '_ {
        let path = self.activator_path();
        self.workloads.iter().map(move |entry| entry.view(path))
    }

    /// Returns at most `most` workloads after the one with the id `after`, by id; from the first one on if there is no
    /// id.
    pub fn views_after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = (WorkloadId, Workload)> + '_ {
        let path = self.activator_path();
        let entries = self.workloads.after(after, most);
        entries.map(move |entry| (entry.id, entry.view(path)))
    }

    /// Like `views_after`, for metrics: `None` for a workload that somebody else scaled to zero and that Ebb
    /// leaves alone. Thousands of such workloads must not make a scrape long.
    pub fn measured_views_after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = (WorkloadId, Option<Workload>)> + '_ {
        let path = self.activator_path();
        self.workloads.after(after, most).map(move |entry| {
            let is_left_alone = entry.is_paused() && entry.refusal.is_none();
            (entry.id, (!is_left_alone).then(|| entry.view(path)))
        })
    }

    /// Returns the last decision about a workload; `None` before the first one.
    #[must_use]
    pub fn decision(&self, of: &TargetKey) -> Option<&Decision> {
        let last = self.workloads.find(of)?.last.as_ref()?;
        Some(&last.decision)
    }

    /// Returns all that is known about one workload.
    #[must_use]
    pub fn detail(&self, of: &Name) -> Option<Detail> {
        let entry = self.workloads.named(of)?;
        Some(entry.detail(self.workloads.config()?, self.activator_path()))
    }

    /// Returns the figures over all workloads.
    #[must_use]
    pub fn figures(&self, now: Timestamp) -> Figures {
        let (senders, stale_senders, lag) = self.reports.count(now);
        let (activators, stale_activators) = self.routing.count(now);
        Figures {
            workloads: self.workloads.len(),
            beyond_limit: self.workloads.limit.beyond(),
            pods: self.pods.len(),
            senders,
            stale_senders,
            activators,
            stale_activators,
            lag,
            decisions: self.decisions,
        }
    }

    /// Figures of the proxied Services.
    #[must_use]
    pub fn routing_figures(&self) -> RoutingFigures {
        self.routing.figures()
    }

    /// Returns the sizes of the collections, for a test that compares them with the cluster.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            workloads: self.workloads.len(),
            due: self.workloads.scheduled(),
            pods: self.pods.len(),
            owners: self.ownership.owners.len(),
        }
    }

    /// Returns the request path, if there are activators.
    fn activator_path(&self) -> Option<&ServiceRouting> {
        let has_activators = self.queueing.has_activators();
        has_activators.then_some(&self.routing)
    }
}
