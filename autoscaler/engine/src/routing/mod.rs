//! Routing of requests to a workload: directly to the pods, or through the activators.
//!
//! The inputs are the Services that route to the workload, the records of ports and EndpointSlices in the API server,
//! and the reports of the activators. The results are the records and EndpointSlices to write, and whether the last pod
//! may be removed. Every replica of the autoscaler keeps this state; only the leader writes to the API server.
//!
//! The record of ports in Ebb's own namespace is authoritative. The objects that a tenant can write (Services,
//! EndpointSlices, labels) can redirect only the requests of this tenant.
//!
//! Bias: a workload has no pod only if the activators can queue every request to the workload, and have been in the
//! request path for the grace period. Failure mode: activators without a current report are removed from the request
//! path. Without any activator, the last pod stays.

mod activator_reports;
mod backoff;
mod endpoint_readiness;
mod event_limit;
mod foreign_slices;
mod listening_time;
mod namespace_record;
mod namespace_routing;
mod plan;
mod port_numbers;
mod reconcile;
mod route;
mod service;
mod slice;
mod zero;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use self::{
    activator_reports::Activator,
    endpoint_readiness::EndpointReadiness,
    event_limit::EventLimit,
    foreign_slices::ForeignSlices,
    listening_time::ListeningTime,
    namespace_record::NamespaceRecord,
    namespace_routing::{NamespaceRouting, ProxiedService},
    port_numbers::PortNumbers,
    route::{ExistingSlice, Route},
    slice::{ActivatorInfo, ActivatorReports, is_there},
    zero::{AtZero, SliceInputs},
};
pub use self::{
    namespace_record::RecordChange,
    reconcile::{Outcome, Path},
    service::ServiceFacts,
    slice::{DesiredSlice, ObservedSlice},
};
use super::{
    entry::{Refusal, WorkloadState},
    names::{TargetKey, WorkloadId},
    outbox::Outbox,
};

/// Namespace and name of a Service.
type Name = (Box<str>, Box<str>);

/// The routing state of all Services.
#[derive(Debug, Default)]
pub(super) struct ServiceRouting {
    namespaces: BTreeMap<Box<str>, NamespaceRouting>,
    routes: BTreeMap<Name, Route>,
    records: BTreeMap<Box<str>, NamespaceRecord>,
    numbers: PortNumbers,
    most_ports: MostPorts,
    activators: BTreeMap<Box<str>, Activator>,
    listening: ListeningTime,
    readiness: EndpointReadiness,
    foreign: ForeignSlices,
    event_limit: EventLimit,
    slice_inputs: HashMap<WorkloadId, SliceInputs>,
    at_zero: HashMap<WorkloadId, AtZero>,
    /// Services whose routing must be checked.
    dirty: BTreeSet<Name>,
    /// Services to check at a later time. Each Service has at most one entry.
    later: BTreeSet<(Timestamp, Name)>,
    timers: HashMap<Name, Timestamp>,
    /// The last Service that the slow sweep over all Services has marked.
    swept: Name,
    /// The Service that was checked last.
    last_checked: Name,
    /// Whether at the last check addresses without any report counted as gone (see
    /// `ListeningTime::is_unreported_gone`).
    unreported_at_last_check: bool,
    /// Names of the activators that counted as available at the last check.
    there: BTreeSet<Box<str>>,
    /// Whether this replica was the leader at the last check.
    acting: bool,
    /// Whether Services must be checked soon.
    changed: bool,
}

/// Maximum number of proxied Service ports in one namespace.
#[derive(Clone, Copy, Debug)]
struct MostPorts(usize);

impl Default for MostPorts {
    /// 200 ports: one fiftieth of the 10 000 activator ports, and enough for a large namespace (200 Services with one
    /// port each).
    fn default() -> Self {
        Self(200)
    }
}

/// Counts for proxied Services, records of ports and EndpointSlices, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutingFigures {
    /// Number of Services that have activator ports.
    pub proxied_services: usize,
    /// Number of Services that do not have all the activator ports they need.
    pub short_services: usize,
    /// Number of EndpointSlices with the `managed-by` label of Ebb that Ebb did not write.
    pub foreign_slices: usize,
    /// Number of keys in records of ports that cannot be parsed.
    pub senseless_records: usize,
    /// Number of EndpointSlices whose last write or removal failed.
    pub refused_slices: usize,
}

impl ServiceRouting {
    pub(super) fn workload_seen(&mut self, id: WorkloadId, entry: &WorkloadState) {
        let key = &entry.target.key;
        let in_namespace = self.namespaces.entry(key.namespace.clone()).or_default();
        let touched = in_namespace.workload_seen(id, &entry.target.labels);
        self.mark_in(&key.namespace, touched);
        self.mark_workload(entry);
    }

    pub(super) fn workload_gone(&mut self, id: WorkloadId, namespace: &str) {
        self.slice_inputs.remove(&id);
        self.at_zero.remove(&id);
        if let Some(in_namespace) = self.namespaces.get_mut(namespace) {
            let touched = in_namespace.workload_gone(id);
            if in_namespace.is_empty() {
                self.namespaces.remove(namespace);
            }
            self.mark_in(namespace, touched);
        }
    }

    /// Returns whether the activators can queue every request to a workload.
    pub(super) fn can_be_queued(&self, entry: &WorkloadState) -> bool {
        let in_namespace = self.namespaces.get(&entry.target.key.namespace);
        in_namespace.is_some_and(|it| it.can_be_queued(entry.id))
            && self.names(entry).iter().all(|name| {
                let route = self.routes.get(name);
                route.is_none_or(|route| route.short.is_none())
            })
    }

    /// Returns the names of the Services that are proxied for a workload.
    pub(super) fn services(&self, entry: &WorkloadState) -> Vec<String> {
        let names = self.names(entry).into_iter();
        names.map(|(_, service)| service.into()).collect()
    }

    /// Returns whether all requests to a workload go through activators (path switch confirmed), as far as the
    /// activators and the API server can tell.
    pub(super) fn is_path_confirmed(&self, entry: &WorkloadState, now: Timestamp) -> bool {
        let activators: Vec<_> = self.activator_infos().collect();
        let reports = ActivatorReports {
            activators: &activators,
            listening: self.listening,
            now,
        };
        let proxied = self.proxied_services(entry);
        !proxied.is_empty()
            && proxied.into_iter().all(|proxied| {
                let route = self.routes.get(&name_of(proxied));
                let Some((Some(record), Some(written))) =
                    route.map(|route| (&route.record, route.confirmed()))
                else {
                    return false;
                };
                let desired = desired_slice(entry, proxied, true);
                written.ports == record.ports
                    && !written.tampered
                    && slice::is_path_confirmed(&desired, written, reports)
            })
    }

    /// Records that the engine was running at `now`.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.listening.tick(now);
    }

    /// Returns two values: the number of activators with a current report, and the number of activators without a
    /// current report.
    pub(super) fn count(&self, now: Timestamp) -> (usize, usize) {
        let infos = self.activator_infos();
        let there = infos.filter(|info| is_there(info, now)).count();
        (there, self.activators.len() - there)
    }

    pub(super) fn figures(&self) -> RoutingFigures {
        let routes = || self.routes.values();
        RoutingFigures {
            proxied_services: routes().filter(|it| it.record.is_some()).count(),
            short_services: routes().filter(|it| it.short.is_some()).count(),
            foreign_slices: self.foreign.count(),
            senseless_records: self.records.values().map(|record| record.senseless).sum(),
            refused_slices: routes().filter(|it| it.trouble.is_in_trouble()).count(),
        }
    }

    fn proxied_services(&self, entry: &WorkloadState) -> Vec<ProxiedService<'_>> {
        let in_namespace = self.namespaces.get(&entry.target.key.namespace);
        in_namespace.map_or_else(Vec::new, |it| it.proxied_services(entry.id))
    }

    /// Returns the names of the Services that are proxied for a workload.
    fn names(&self, entry: &WorkloadState) -> Vec<Name> {
        let services = self.proxied_services(entry).into_iter();
        services.map(name_of).collect()
    }

    fn activator_infos(&self) -> impl Iterator<Item = &ActivatorInfo> {
        self.activators.values().map(|activator| &activator.info)
    }

    /// Marks a Service to be checked.
    fn mark(&mut self, name: Name) {
        self.dirty.insert(name);
        self.changed = true;
    }

    fn mark_in(&mut self, namespace: &str, services: BTreeSet<Box<str>>) {
        for service in services {
            self.mark((namespace.into(), service));
        }
    }

    fn mark_workload(&mut self, entry: &WorkloadState) {
        for name in self.names(entry) {
            self.mark(name);
        }
    }

    /// Marks every Service with routing state to be checked.
    fn mark_all(&mut self) {
        let names: Vec<_> = self.routes.keys().cloned().collect();
        self.dirty.extend(names);
        self.changed = true;
    }

    /// Marks a Service to be checked again at `at` at the latest.
    fn mark_later(&mut self, at: Timestamp, name: &Name) {
        match self.timers.get_mut(name) {
            Some(known) if *known <= at => {}
            Some(known) => {
                self.later.remove(&(*known, name.clone()));
                self.later.insert((at, name.clone()));
                *known = at;
            }
            None => {
                self.timers.insert(name.clone(), at);
                self.later.insert((at, name.clone()));
            }
        }
    }
}

fn name_of(proxied: ProxiedService<'_>) -> Name {
    let facts = proxied.service;
    (facts.namespace.clone(), facts.name.clone())
}

fn desired_slice(entry: &WorkloadState, proxied: ProxiedService<'_>, proxy: bool) -> DesiredSlice {
    let (_, activators) = entry.proxy.unwrap_or_default();
    DesiredSlice {
        workload: entry.target.key.clone(),
        service: proxied.service.name.to_string(),
        service_uid: proxied.service.uid.to_string(),
        ports: proxied.service.ports.clone(),
        proxy,
        activators,
        six: proxied.service.six,
        hard_limit: entry.hard_limit(),
        pods_of: proxied.pods_of.map(str::to_owned),
        scaled_to_zero: false,
        is_last_way: false,
    }
}

/// Facts from the API server.
impl ServiceRouting {
    /// Sets the maximum number of proxied Service ports in one namespace.
    pub(super) fn limit_ports(&mut self, most: usize) {
        self.most_ports = MostPorts(most);
    }

    /// Processes a Service that is new or has changed.
    pub(super) fn service_seen(&mut self, facts: ServiceFacts) {
        let namespace = facts.namespace.clone();
        let in_namespace = self.namespaces.entry(namespace.clone()).or_default();
        let touched = in_namespace.service_seen(facts);
        self.mark_in(&namespace, touched);
    }

    /// Records that a Service was deleted.
    pub(super) fn service_gone(&mut self, namespace: &str, name: &str) {
        let Some(in_namespace) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let touched = in_namespace.service_gone(name);
        if in_namespace.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.mark_in(namespace, touched);
    }

    /// Processes the record of ports of a namespace. Returns the workloads that the record names.
    pub(super) fn record_seen(
        &mut self,
        now: Timestamp,
        namespace: &str,
        version: Option<&str>,
        allotments: BTreeMap<Box<str>, Allotment>,
        senseless: usize,
    ) -> Vec<TargetKey> {
        let record = self.records.entry(namespace.into()).or_default();
        if !record.is_news(version) {
            return Vec::new();
        }
        record.senseless = senseless;
        let services = allotments.keys().cloned().collect();
        let before = std::mem::replace(&mut record.services, services);
        for service in before {
            if !allotments.contains_key(&service) {
                self.record(now, (namespace.into(), service), None);
            }
        }
        let mut workloads = Vec::new();
        for (service, allotment) in allotments {
            workloads.extend(route::workload(namespace, &allotment.workload));
            let name = (namespace.into(), service);
            self.record(now, name, Some(allotment));
        }
        workloads
    }

    /// Processes the deletion of the record of ports of a namespace.
    pub(super) fn record_gone(&mut self, now: Timestamp, namespace: &str) {
        let Some(record) = self.records.get_mut(namespace) else {
            return;
        };
        record.senseless = 0;
        record.is_news(None);
        for service in std::mem::take(&mut record.services) {
            self.record(now, (namespace.into(), service), None);
        }
        self.forget_record(namespace);
    }

    /// Processes an EndpointSlice with the name that Ebb gives to the slice of this Service. `claims`: whether the
    /// label of the EndpointSlice says that Ebb manages it.
    pub(super) fn slice_seen(
        &mut self,
        namespace: &str,
        service: &str,
        uid: &str,
        claims: bool,
        written: ObservedSlice,
        is_leading: bool,
    ) {
        let name: Name = (namespace.into(), service.into());
        let route = self.routes.entry(name.clone()).or_default();
        let requested = route.requested.as_ref();
        if requested.is_some_and(|(requested, _)| *requested == written) {
            route.requested = None;
            route.doubtful = false;
        }
        let known = route.existing.as_ref();
        route.existing = Some(ExistingSlice {
            adoptable: known.map_or(!is_leading, |known| known.adoptable),
            uid: uid.into(),
            claims,
            written,
        });
        self.mark(name);
    }

    /// Records that the EndpointSlice with the name that Ebb gives to the slice of this Service was deleted.
    pub(super) fn slice_gone(&mut self, namespace: &str, service: &str) {
        let name: Name = (namespace.into(), service.into());
        if let Some(route) = self.routes.get_mut(&name) {
            route.existing = None;
            route.removing = None;
        }
        self.mark(name);
    }

    /// Processes an EndpointSlice with the `managed-by` label of Ebb that Ebb did not write. Publishes an Event if the
    /// EndpointSlice is new.
    pub(super) fn foreign_slice_seen(
        &mut self,
        now: Timestamp,
        namespace: &str,
        slice: &str,
        uid: &str,
        outbox: &mut Outbox,
    ) {
        if self.foreign.seen(namespace, slice, uid) {
            self.report_foreign(now, namespace, slice, uid, outbox);
        }
    }

    /// Records that an EndpointSlice with a false `managed-by` label of Ebb was deleted, or no longer has this label.
    pub(super) fn foreign_slice_gone(&mut self, namespace: &str, slice: &str) {
        self.foreign.gone(namespace, slice);
    }

    /// Processes an EndpointSlice that another controller manages. `ready`: whether at least one endpoint of the
    /// EndpointSlice is ready.
    pub(super) fn endpoints_seen(
        &mut self,
        namespace: &str,
        slice: &str,
        service: &str,
        ready: bool,
    ) {
        if self.readiness.update(namespace, slice, service, ready) {
            self.mark((namespace.into(), service.into()));
        }
    }

    /// Records that an EndpointSlice that another controller manages was deleted.
    pub(super) fn endpoints_gone(&mut self, namespace: &str, slice: &str) {
        if let Some(service) = self.readiness.remove(namespace, slice) {
            self.mark((namespace.into(), service));
        }
    }

    /// Returns whether Services must be checked soon, and resets this flag.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl ServiceRouting {
    /// Returns the workloads that records of ports or EndpointSlices of Ebb name.
    pub(super) fn workloads(&self) -> impl Iterator<Item = TargetKey> + '_ {
        let routes = self.routes.iter();
        routes.filter_map(|((namespace, _), route)| route.workload(namespace))
    }

    /// Returns the workloads whose EndpointSlices have the annotation `ebb.dev/scaled-to-zero`.
    pub(super) fn workloads_at_zero(&self) -> impl Iterator<Item = TargetKey> + '_ {
        let routes = self.routes.iter().filter(|(_, route)| {
            let confirmed = route.confirmed();
            confirmed.is_some_and(|written| written.scaled_to_zero)
        });
        routes.filter_map(|((namespace, _), route)| route.workload(namespace))
    }

    /// Returns whether every Service of a workload has a ready endpoint of a pod.
    pub(super) fn all_lead_to_pods(&self, entry: &WorkloadState) -> bool {
        let names = self.names(entry);
        names.iter().all(|name| self.readiness.leads_to_pods(name))
    }

    /// Processes the recorded ports of a Service; `None`: no ports are recorded.
    fn record(&mut self, now: Timestamp, name: Name, record: Option<Allotment>) {
        if record.is_none() && !self.routes.contains_key(&name) {
            return;
        }
        let route = self.routes.entry(name.clone()).or_default();
        if route.record != record {
            route.record = record;
            self.reclaim(now, &name);
            self.mark(name);
        }
    }

    /// Updates the port numbers that a Service claims from its recorded and requested ports. Other Services that claim
    /// one of the new numbers are marked to be checked.
    fn reclaim(&mut self, now: Timestamp, name: &Name) {
        let Some(route) = self.routes.get_mut(name) else {
            return;
        };
        let new = route.reclaim(name, &mut self.numbers, now);
        let others: Vec<_> = new
            .into_iter()
            .flat_map(|number| self.numbers.other_claimants(number, name))
            .cloned()
            .collect();
        for other in others {
            self.mark(other);
        }
    }

    fn forget_record(&mut self, namespace: &str) {
        if self
            .records
            .get(namespace)
            .is_some_and(NamespaceRecord::is_empty)
        {
            self.records.remove(namespace);
        }
    }
}

impl WorkloadState {
    /// Returns whether activators are to be in the request path of the workload; `None` before the first decision.
    fn wants_proxy(&self) -> Option<bool> {
        let scales_elsewhere = matches!(
            &self.refusal,
            Some(Refusal {
                reason: "ConflictingAutoscaler",
                ..
            })
        );
        self.proxy.map(|(proxy, _)| proxy && !scales_elsewhere)
    }
}

#[cfg(test)]
mod tests;
