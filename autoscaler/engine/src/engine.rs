//! The engine passes each fact and each report to the components that use it, and decides the replicas of each workload
//! whose decision is due.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ebb_autoscaler_core::{Config, Decision, Timestamp};
use ebb_contract::{ActivatorReport, Receipt, Report, allotments::Allotment};
use ebb_page_model::{Detail, Name, Workload};

use super::{
    counted_at::CountedPods,
    decide::unknown,
    decision_counts::DecisionCounts,
    effect::{Effect, Order},
    freshness::Freshness,
    names::{Owner, TargetKey, WorkloadId},
    opt_out::OptedOutAtZero,
    outbox::Outbox,
    owners::OwnerResolution,
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

/// Time without a report after which the engine removes a sender or an activator from its state.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// The engine: the state of the autoscaler for the whole cluster.
#[derive(Debug, Default)]
pub struct Engine {
    queueing: Queueing,
    /// Whether the engine makes decisions: true once the initial lists of all watches are complete.
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

/// Number of entries in each collection of the engine.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) workloads: usize,
    pub(super) due: usize,
    pub(super) pods: usize,
    pub(super) owners: usize,
}

/// Creation, settings, leadership, start and clean-up of the engine.
impl Engine {
    /// Creates an engine that has received no facts and no reports.
    #[must_use]
    pub fn new(queueing: Queueing) -> Self {
        Self {
            queueing,
            ..Self::default()
        }
    }

    /// Makes the engine publish its decisions as recommendations and create no scale orders, whatever the annotations
    /// of the workloads say.
    #[must_use]
    pub fn recommending(mut self) -> Self {
        self.workloads.recommend_only = true;
        self
    }

    /// Sets the maximum number of workloads in one namespace.
    #[must_use]
    pub fn with_most_workloads(mut self, most: usize) -> Self {
        self.workloads.limit.most = most;
        self
    }

    /// Sets the maximum number of proxied Service ports in one namespace.
    #[must_use]
    pub fn with_most_ports(mut self, most: usize) -> Self {
        self.routing.limit_ports(most);
        self
    }

    /// Removes and returns the actions that the engine has requested from its caller since the last call.
    pub fn effects(&mut self) -> Vec<Effect> {
        self.outbox.take()
    }

    /// Sets whether this replica is the leader. A replica that is not the leader makes decisions, but creates no
    /// orders.
    pub fn lead(&mut self, leading: bool) {
        self.outbox.lead(leading);
        self.workloads.lead(&mut self.outbox);
    }

    /// Starts making decisions. The caller must call this when the initial lists of all watches are complete.
    pub fn begin(&mut self, now: Timestamp) {
        for facts in self.opted_out_at_zero.take_workloads(&self.routing) {
            let key = facts.key.clone();
            self.add_workload(now, facts);
            if let Some(entry) = self.workloads.find_mut(&key) {
                entry.is_opting_out = true;
            }
        }
        self.deciding = true;
    }

    /// Processes new cluster-wide settings.
    pub fn configure(&mut self, now: Timestamp, config: Config) {
        self.workloads.configure(now, config, &mut self.outbox);
    }

    /// Removes senders and activators that have not reported for an hour.
    pub fn sweep(&mut self, now: Timestamp) {
        self.reports.sweep(now, FORGET_AFTER);
        self.routing.sweep(now, FORGET_AFTER);
        self.ownership.sweep(self.routing.workloads());
    }
}

/// Facts from the API server.
impl Engine {
    /// Sets the reason why the facts from the API server are stale; `None`: the facts are current. While the facts are
    /// stale, no workload is scaled down.
    pub fn facts_are(&mut self, stale: Option<String>) {
        self.freshness.set(stale);
    }

    /// Sets the reason why the facts about the objects of one kind are stale; `None`: the facts are current. Only
    /// workloads of this kind are affected.
    pub fn kind_facts_are(&mut self, group: &str, kind: &str, stale: Option<String>) {
        self.freshness.set_kind(group, kind, stale);
    }

    /// Returns the reason why the facts about a workload are stale; `None`: the facts are current.
    #[must_use]
    pub fn stale_facts(&self, of: &TargetKey) -> Option<Arc<str>> {
        self.freshness.stale(of)
    }

    /// Processes a scalable object that is new or has changed.
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
            // The new object has the same name and another uid, so the old object is gone.
            self.target_gone(now, &facts.key);
        }
        if let Some(facts) = self.ownership.admit(facts) {
            self.add_workload(now, facts);
        }
    }

    /// Adds a workload.
    fn add_workload(&mut self, now: Timestamp, facts: TargetFacts) {
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
        self.ownership.workload_added(&key.namespace, outbox);
        workloads.validate(now, id, outbox);
    }

    /// Processes an object that has not opted in. A workload that Ebb scaled to zero is removed only after it has a
    /// ready pod, because until then only the activators receive its requests.
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

    /// Records that a scalable object was deleted or has opted out.
    pub fn target_gone(&mut self, now: Timestamp, key: &TargetKey) {
        self.ownership.target_gone(key);
        self.workloads.limit.remove(key);
        self.opted_out_at_zero.remove(key);
        let Some(entry) = self.workloads.remove(key) else {
            return;
        };
        self.routing.workload_gone(entry.id, &key.namespace);
        self.pods.workload_gone(&entry.pods);
        self.ownership.owners.workload_removed(&key.namespace);
        if let Some(next) = self.workloads.limit.next(&key.namespace) {
            self.target_seen(now, next);
        }
    }

    /// Processes a pod that is new or has changed.
    pub fn pod_seen(&mut self, now: Timestamp, facts: PodFacts) {
        if let Some(pod) = self.pods.find_mut(&facts.uid) {
            if pod.facts.owner == facts.owner {
                let is_back = pod.update(facts);
                if let Some(id) = pod.workload.filter(|_| is_back) {
                    self.capacity_back(now, id);
                }
                return;
            }
            // The owner of the pod has changed: one owner has released the pod, and another owner has adopted it.
            self.pod_gone(&facts.uid);
        }
        let (pods, outbox) = (&mut self.pods, &mut self.outbox);
        if let Some((pod, key)) = self.ownership.pod_seen(facts, pods, outbox)
            && let Some(entry) = self.workloads.find_mut(key)
        {
            self.pods.join(entry, [pod]);
        }
    }

    /// Requests a decision after a pod has become ready, because the activators are possibly no longer needed in the
    /// request path.
    fn capacity_back(&mut self, now: Timestamp, id: WorkloadId) {
        let activators = self.workloads.get(id).and_then(|entry| entry.activators);
        if self.queueing.has_activators() && activators.is_some_and(|need| need.in_path) {
            self.request_decision(now, id);
        }
    }

    /// Records that a pod was deleted.
    pub fn pod_gone(&mut self, uid: &str) {
        let removed = self.pods.remove(uid, &mut self.workloads);
        if let Some((id, facts)) = removed
            && let Some(owner) = &facts.owner
        {
            let owners = &mut self.ownership.owners;
            owners.remove(&facts.namespace, owner, id);
        }
    }

    /// Records the scalable object that an owner of pods in `namespace` resolves to. A later call for the same owner
    /// replaces the recorded object.
    pub fn owner_resolved(
        &mut self,
        now: Timestamp,
        namespace: &str,
        owner: &Arc<Owner>,
        resolution: OwnerResolution,
    ) {
        let (pods, outbox) = (&mut self.pods, &mut self.outbox);
        let resolved = self
            .ownership
            .owner_resolved(namespace, owner, resolution, pods, outbox);
        let Some(resolved) = resolved else { return };
        if resolved.is_moved {
            for &pod in &resolved.pods {
                pods.leave(pod, &mut self.workloads);
            }
        }
        if let Some(entry) = self.workloads.find_mut(&resolved.key) {
            pods.join(entry, resolved.pods);
        }
        if let Some(facts) = resolved.facts {
            self.target_seen(now, facts);
        }
    }

    /// Processes a workload that is named in an EndpointSlice of Ebb, or in the ConfigMap that records activator ports.
    pub(super) fn slice_names(&mut self, key: TargetKey) {
        if self.workloads.find(&key).is_none() {
            self.ownership.slice_names(key, &mut self.outbox);
        }
    }

    /// Records the answer of the API server about a workload that an EndpointSlice names: whether the object exists and
    /// is the topmost scalable object.
    pub fn confirmed(&mut self, now: Timestamp, key: &TargetKey, resolution: OwnerResolution) {
        if let Some(facts) = self.ownership.confirmed(key, resolution) {
            self.target_seen(now, facts);
        }
    }

    /// Returns whether an EndpointSlice names `key` as its workload. If the result is false, the caller can stop
    /// requesting the object from the API server.
    #[must_use]
    pub fn is_named_by_slice(&self, key: &TargetKey) -> bool {
        self.ownership.is_named_by_slice(key)
    }

    /// Records that the initial list of the objects of a kind is complete.
    pub fn kind_listed(&mut self, group: &str, kind: &str) {
        self.ownership.kind_listed(group, kind);
    }

    /// Returns whether at least one pod still has this owner.
    #[must_use]
    pub fn is_owner(&self, namespace: &str, owner: &Arc<Owner>) -> bool {
        self.ownership.owners.has(namespace, owner)
    }

    /// Records that a conflicting autoscaler scales `target` from now on.
    pub fn conflict_seen(&mut self, now: Timestamp, target: TargetKey, name: String) {
        if let Some(id) = self.workloads.conflict_seen(&target, name) {
            self.workloads.validate(now, id, &mut self.outbox);
        }
    }

    /// Records that a conflicting autoscaler no longer scales `target`.
    pub fn conflict_gone(&mut self, now: Timestamp, target: &TargetKey, name: &str) {
        if let Some(id) = self.workloads.conflict_gone(target, name) {
            self.workloads.validate(now, id, &mut self.outbox);
        }
    }
}

/// Reports and decisions.
impl Engine {
    /// Processes a report about the load of pods, and requests a decision for each workload that should not wait for
    /// its next scheduled decision.
    pub fn report(
        &mut self,
        now: Timestamp,
        scope: Scope<'_>,
        sender: &str,
        report: &Report<'_>,
    ) -> Receipt {
        let (pods, workloads) = (&mut self.pods, &mut self.workloads);
        let (receipt, urgent) = self
            .reports
            .take(now, scope, sender, report, pods, workloads);
        self.request_decisions(now, urgent);
        receipt
    }

    /// Processes a report of an activator, and requests a decision for each workload that should not wait for its next
    /// scheduled decision.
    pub fn activator_report(&mut self, now: Timestamp, report: &ActivatorReport) -> Receipt {
        let (receipt, urgent) = self.routing.take_report(now, report, &mut self.workloads);
        self.request_decisions(now, urgent);
        receipt
    }

    fn request_decisions(&mut self, now: Timestamp, urgent: Vec<WorkloadId>) {
        for id in urgent {
            self.request_decision(now, id);
        }
    }

    /// Requests a decision for a workload. The decision is made at once, or as soon as the minimum interval since the
    /// last decision has passed.
    fn request_decision(&mut self, now: Timestamp, id: WorkloadId) {
        if self.workloads.request_decision(now, id) {
            self.decide(now, id);
        }
    }

    /// Makes decisions for a limited number of the workloads whose decisions are due. Returns the time by which the
    /// caller must call again; `now` or earlier if decisions for more workloads are due.
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

    /// Makes the decision for a workload. If this replica is the leader, also creates the order or the recommendation
    /// that follows from the decision.
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
        let counted = CountedPods::of(&entry.pods, pods);
        let decision = entry.decide(
            now,
            totals,
            queued,
            without_metrics,
            counted,
            is_always_proxied,
        );
        let Some(decision) = decision else { return };
        self.decisions.count(&decision.reason.basis);
        routing.apply_decision(now, entry);
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

    /// Records that the API server has carried out a scale order, or that the order has failed with `error`. After an
    /// error, the next decision creates a new order.
    pub fn written(&mut self, now: Timestamp, order: Order, error: Option<String>) {
        self.workloads.written(now, order, error);
    }

    /// Records that the API server refused a scale order because the object has changed since the decision. A new
    /// decision is made at once if the watch has already reported the change, otherwise as soon as the watch reports
    /// the change.
    pub fn overtaken(&mut self, now: Timestamp, order: &Order) {
        if self.workloads.overtaken(order) {
            self.request_decision(now, order.workload);
        }
    }
}

/// The request path: facts from the API server, and writes to the API server.
impl Engine {
    /// Processes a Service that is new or has changed.
    pub fn service_seen(&mut self, facts: ServiceFacts) {
        self.routing.service_seen(facts);
    }

    /// Records that a Service was deleted.
    pub fn service_gone(&mut self, namespace: &str, name: &str) {
        self.routing.service_gone(namespace, name);
    }

    /// Processes a new or changed ConfigMap that records the activator ports of a namespace. `senseless`: number of
    /// keys in the ConfigMap that cannot be parsed and are ignored.
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
            self.slice_names(key);
        }
    }

    /// Processes the deletion of the ConfigMap that records the activator ports of a namespace.
    pub fn record_gone(&mut self, now: Timestamp, namespace: &str) {
        self.routing.record_gone(now, namespace);
    }

    /// Processes a new or changed EndpointSlice. Its name is `SERVICE-ebb`, the name of Ebb's slice for `service`.
    /// `claims`: whether the label of the slice says that Ebb manages the slice. The label alone does not prove that
    /// the slice belongs to Ebb, because a tenant can write the label.
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

    /// Records that the EndpointSlice `SERVICE-ebb`, Ebb's slice for `service`, was deleted.
    pub fn slice_gone(&mut self, namespace: &str, service: &str) {
        self.routing.slice_gone(namespace, service);
    }

    /// Processes an EndpointSlice that was not written by Ebb: its label says that Ebb manages it, but its name is not
    /// one that Ebb gives to a slice.
    pub fn foreign_slice_seen(&mut self, now: Timestamp, namespace: &str, slice: &str, uid: &str) {
        let outbox = &mut self.outbox;
        self.routing
            .foreign_slice_seen(now, namespace, slice, uid, outbox);
    }

    /// Records that an EndpointSlice with a false `managed-by` label of Ebb was deleted, or no longer has this label.
    pub fn foreign_slice_gone(&mut self, namespace: &str, slice: &str) {
        self.routing.foreign_slice_gone(namespace, slice);
    }

    /// Processes an EndpointSlice of `service` that another controller manages and that is new or has changed. `ready`:
    /// whether at least one endpoint of the slice is ready.
    pub fn endpoints_seen(&mut self, namespace: &str, slice: &str, service: &str, ready: bool) {
        self.routing
            .endpoints_seen(namespace, slice, service, ready);
    }

    /// Records that an EndpointSlice that another controller manages was deleted.
    pub fn endpoints_gone(&mut self, namespace: &str, slice: &str) {
        self.routing.endpoints_gone(namespace, slice);
    }

    /// Returns whether Services must be checked soon, and resets this flag. [`Engine::paths`] checks the Services.
    pub fn paths_changed(&mut self) -> bool {
        self.routing.take_changed()
    }

    /// Returns the writes that the caller must send to the API server now. A write is pending until
    /// [`Engine::path_done`] is called with the outcome of the write.
    pub fn paths(&mut self, now: Timestamp) -> Vec<Path> {
        self.routing.tick(now);
        if !self.deciding || !self.outbox.is_leading() || !self.queueing.has_activators() {
            self.routing.pause();
            return Vec::new();
        }
        let (workloads, outbox) = (&self.workloads, &mut self.outbox);
        self.routing.paths(now, workloads, &self.ownership, outbox)
    }

    /// Records the outcome of a write to the API server.
    pub fn path_done(&mut self, now: Timestamp, path: &Path, outcome: &Outcome) {
        let (workloads, outbox) = (&self.workloads, &mut self.outbox);
        self.routing
            .path_done(now, path, outcome, workloads, outbox);
    }
}

/// Views for the status page, the API and metrics.
impl Engine {
    /// Returns the views of all workloads, ordered by id.
    pub fn views(&self) -> impl Iterator<Item = Workload> + '_ {
        let path = self.activator_path();
        self.workloads.iter().map(move |entry| entry.view(path))
    }

    /// Returns the views of at most `most` workloads whose ids follow `after`, ordered by id; `None`: from the first
    /// workload.
    pub fn views_after(
        &self,
        after: Option<WorkloadId>,
        most: usize,
    ) -> impl Iterator<Item = (WorkloadId, Workload)> + '_ {
        let path = self.activator_path();
        let entries = self.workloads.after(after, most);
        entries.map(move |entry| (entry.id, entry.view(path)))
    }

    /// Returns the views of at most `most` workloads whose ids follow `after`, for metrics. The view is `None` for a
    /// paused workload (scaled to zero by somebody other than Ebb), because thousands of paused workloads must not make
    /// a scrape slow.
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

    /// Returns the last decision about a workload; `None` before the first decision.
    #[must_use]
    pub fn decision(&self, of: &TargetKey) -> Option<&Decision> {
        let last = self.workloads.find(of)?.last.as_ref()?;
        Some(&last.decision)
    }

    /// Returns the detailed view of one workload.
    #[must_use]
    pub fn detail(&self, of: &Name) -> Option<Detail> {
        let entry = self.workloads.named(of)?;
        Some(entry.detail(self.workloads.config()?, self.activator_path()))
    }

    /// Returns the totals over all workloads.
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

    /// Returns the numbers of proxied Services, of recorded activator ports, and of EndpointSlices, for the metrics.
    #[must_use]
    pub fn routing_figures(&self) -> RoutingFigures {
        self.routing.figures()
    }

    /// Returns the sizes of the collections, for a test that compares the sizes with the number of objects in the
    /// cluster.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> Sizes {
        Sizes {
            workloads: self.workloads.len(),
            due: self.workloads.scheduled(),
            pods: self.pods.len(),
            owners: self.ownership.owners.len(),
        }
    }

    /// Returns the routing state if activators are installed.
    fn activator_path(&self) -> Option<&ServiceRouting> {
        let has_activators = self.queueing.has_activators();
        has_activators.then_some(&self.routing)
    }
}
