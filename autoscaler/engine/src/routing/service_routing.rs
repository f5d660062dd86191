//! The state of the request path of all Services, and the facts from the API server that change it.
//!
//! A fact only schedules checks of the affected Services. The checks follow later (`reconcile.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ebb_autoscaler_core::{Timestamp, annotations::Mode};
use ebb_contract::allotments::Allotment;

use super::{
    activator::{Activator, ActivatorInfo, ActivatorReports, is_current},
    endpoint_readiness::EndpointReadiness,
    event_limit::EventLimit,
    foreign_slices::ForeignSlices,
    listening_time::ListeningTime,
    namespace_record::NamespaceRecord,
    namespace_routing::{NamespaceRouting, ProxiedService},
    port_numbers::PortNumbers,
    route::{self, ExistingSlice, Route},
    service::{Name, ServiceFacts},
    slice::{self, DesiredSlice, ObservedSlice},
};
use crate::{
    names::{TargetKey, WorkloadId},
    outbox::Outbox,
    workload_state::{ActivatorNeed, Refusal, WorkloadState},
};

/// The routing state of all Services.
#[derive(Debug, Default)]
pub(crate) struct ServiceRouting {
    pub(super) namespaces: BTreeMap<Box<str>, NamespaceRouting>,
    pub(super) routes: BTreeMap<Name, Route>,
    pub(super) records: BTreeMap<Box<str>, NamespaceRecord>,
    pub(super) numbers: PortNumbers,
    pub(super) most_ports: MostPorts,
    pub(super) activators: BTreeMap<Box<str>, Activator>,
    pub(super) listening: ListeningTime,
    pub(super) readiness: EndpointReadiness,
    pub(super) foreign: ForeignSlices,
    pub(super) event_limit: EventLimit,
    pub(super) slice_inputs: HashMap<WorkloadId, SliceInputs>,
    pub(super) at_zero: HashMap<WorkloadId, AtZero>,
    /// Services to check.
    pub(super) dirty: BTreeSet<Name>,
    /// Services to check at a later time, each with this time. A Service is contained at most once.
    pub(super) later: BTreeSet<(Timestamp, Name)>,
    pub(super) timers: HashMap<Name, Timestamp>,
    /// The last Service that the slow sweep has reached; the sweep continues after this Service.
    pub(super) swept: Name,
    /// The Service that was checked last.
    pub(super) last_checked: Name,
    /// The result of [`ListeningTime::is_unreported_gone`] at the last check.
    pub(super) unreported_at_last_check: bool,
    /// Names of the activators that were reporting and were not shutting down at the last check.
    pub(super) there: BTreeSet<Box<str>>,
    /// Whether this replica was allowed to write to the API server at the last call of [`crate::Engine::paths`].
    pub(super) acting: bool,
    /// Whether Services should be checked soon.
    pub(super) changed: bool,
}

/// A workload that Ebb scaled to zero.
#[derive(Debug, Default)]
pub(super) struct AtZero {
    /// Time since which the request path of the workload has not been confirmed; `None`: the request path is confirmed.
    pub(super) broken_since: Option<Timestamp>,
}

/// The properties of a workload on which the EndpointSlices of its Services depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceInputs {
    pub(super) activators: Option<ActivatorNeed>,
    pub(super) refused: Option<&'static str>,
    pub(super) mode: Mode,
    pub(super) hard_limit: u32,
    pub(super) at_zero: bool,
    pub(super) wants_zero: bool,
}

/// Maximum number of proxied Service ports in one namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct MostPorts(pub(super) usize);

impl Default for MostPorts {
    /// 200 = a fiftieth of the 10 000 activator port numbers. Few namespaces have more than 200 Services with one port
    /// each.
    fn default() -> Self {
        Self(200)
    }
}

/// Counts for proxied Services, recorded activator ports and EndpointSlices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutingFigures {
    /// Number of Services with recorded activator ports.
    pub proxied_services: usize,
    /// Number of Services that do not have all the activator ports they need.
    pub short_services: usize,
    /// Number of EndpointSlices with the `managed-by` label of Ebb that Ebb did not write.
    pub foreign_slices: usize,
    /// Number of keys that cannot be parsed in the ConfigMaps that record activator ports.
    pub senseless_records: usize,
    /// Number of EndpointSlices whose last write or removal failed.
    pub refused_slices: usize,
}

impl ServiceRouting {
    pub(crate) fn workload_seen(&mut self, id: WorkloadId, entry: &WorkloadState) {
        let key = &entry.target.key;
        let in_namespace = self.namespaces.entry(key.namespace.clone()).or_default();
        let touched = in_namespace.workload_seen(id, &entry.target.labels);
        self.schedule_checks_in(&key.namespace, touched);
        self.schedule_checks_of(entry);
    }

    pub(crate) fn workload_gone(&mut self, id: WorkloadId, namespace: &str) {
        self.slice_inputs.remove(&id);
        self.at_zero.remove(&id);
        if let Some(in_namespace) = self.namespaces.get_mut(namespace) {
            let touched = in_namespace.workload_gone(id);
            if in_namespace.is_empty() {
                self.namespaces.remove(namespace);
            }
            self.schedule_checks_in(namespace, touched);
        }
    }

    /// Returns whether the activators can queue every request to a workload.
    pub(crate) fn can_be_queued(&self, entry: &WorkloadState) -> bool {
        let in_namespace = self.namespaces.get(&entry.target.key.namespace);
        in_namespace.is_some_and(|it| it.can_be_queued(entry.id))
            && self.names(entry).iter().all(|name| {
                let route = self.routes.get(name);
                route.is_none_or(|route| route.short.is_none())
            })
    }

    /// Returns the names of the Services that are proxied for a workload.
    pub(crate) fn services(&self, entry: &WorkloadState) -> Vec<String> {
        let names = self.names(entry).into_iter();
        names.map(|(_, service)| service.into()).collect()
    }

    /// Returns whether it is confirmed that all requests to a workload go through activators, according to the reports
    /// of the activators and the EndpointSlices in the API server.
    pub(crate) fn is_path_confirmed(&self, entry: &WorkloadState, now: Timestamp) -> bool {
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
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.listening.tick(now);
    }

    /// Returns two numbers: activators with a current report, and activators without a current report.
    pub(crate) fn count(&self, now: Timestamp) -> (usize, usize) {
        let infos = self.activator_infos();
        let there = infos.filter(|info| is_current(info, now)).count();
        (there, self.activators.len() - there)
    }

    pub(crate) fn figures(&self) -> RoutingFigures {
        let routes = || self.routes.values();
        RoutingFigures {
            proxied_services: routes().filter(|it| it.record.is_some()).count(),
            short_services: routes().filter(|it| it.short.is_some()).count(),
            foreign_slices: self.foreign.count(),
            senseless_records: self.records.values().map(|record| record.senseless).sum(),
            refused_slices: routes().filter(|it| it.trouble.is_in_trouble()).count(),
        }
    }

    pub(super) fn proxied_services(&self, entry: &WorkloadState) -> Vec<ProxiedService<'_>> {
        let in_namespace = self.namespaces.get(&entry.target.key.namespace);
        in_namespace.map_or_else(Vec::new, |it| it.proxied_services(entry.id))
    }

    /// Returns the names of the Services that are proxied for a workload.
    pub(super) fn names(&self, entry: &WorkloadState) -> Vec<Name> {
        let services = self.proxied_services(entry).into_iter();
        services.map(name_of).collect()
    }

    pub(super) fn activator_infos(&self) -> impl Iterator<Item = &ActivatorInfo> {
        self.activators.values().map(|activator| &activator.info)
    }

    /// Schedules a check of a Service.
    pub(super) fn schedule_check(&mut self, name: Name) {
        self.dirty.insert(name);
        self.changed = true;
    }

    pub(super) fn schedule_checks_in(&mut self, namespace: &str, services: BTreeSet<Box<str>>) {
        for service in services {
            self.schedule_check((namespace.into(), service));
        }
    }

    pub(super) fn schedule_checks_of(&mut self, entry: &WorkloadState) {
        for name in self.names(entry) {
            self.schedule_check(name);
        }
    }

    /// Schedules checks of all Services with routing state (recorded ports, an EndpointSlice or a pending write).
    pub(super) fn schedule_all_checks(&mut self) {
        let names: Vec<_> = self.routes.keys().cloned().collect();
        self.dirty.extend(names);
        self.changed = true;
    }

    /// Schedules a check of a Service no later than `at`.
    pub(super) fn schedule_check_at(&mut self, at: Timestamp, name: &Name) {
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

pub(super) fn name_of(proxied: ProxiedService<'_>) -> Name {
    let facts = proxied.service;
    (facts.namespace.clone(), facts.name.clone())
}

pub(super) fn desired_slice(
    entry: &WorkloadState,
    proxied: ProxiedService<'_>,
    proxy: bool,
) -> DesiredSlice {
    let activators = entry.activators.unwrap_or_default().count;
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
    pub(crate) fn limit_ports(&mut self, most: usize) {
        self.most_ports = MostPorts(most);
    }

    /// Processes a Service that is new or has changed.
    pub(crate) fn service_seen(&mut self, facts: ServiceFacts) {
        let namespace = facts.namespace.clone();
        let in_namespace = self.namespaces.entry(namespace.clone()).or_default();
        let touched = in_namespace.service_seen(facts);
        self.schedule_checks_in(&namespace, touched);
    }

    /// Records that a Service was deleted.
    pub(crate) fn service_gone(&mut self, namespace: &str, name: &str) {
        let Some(in_namespace) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let touched = in_namespace.service_gone(name);
        if in_namespace.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.schedule_checks_in(namespace, touched);
    }

    /// Processes the ConfigMap that records the activator ports of a namespace. Returns the workloads that the
    /// ConfigMap names; none if a newer version of the ConfigMap is already known.
    pub(crate) fn record_seen(
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

    /// Processes the deletion of the ConfigMap that records the activator ports of a namespace.
    pub(crate) fn record_gone(&mut self, now: Timestamp, namespace: &str) {
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

    /// Processes the EndpointSlice `SERVICE-ebb`. This is the name of Ebb's slice for `service`, but a tenant can use
    /// the name, too. `claims`: whether the label of the EndpointSlice says that Ebb manages the EndpointSlice.
    pub(crate) fn slice_seen(
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
        self.schedule_check(name);
    }

    /// Records that the EndpointSlice `SERVICE-ebb`, Ebb's slice for `service`, was deleted.
    pub(crate) fn slice_gone(&mut self, namespace: &str, service: &str) {
        let name: Name = (namespace.into(), service.into());
        if let Some(route) = self.routes.get_mut(&name) {
            route.existing = None;
            route.removing = None;
        }
        self.schedule_check(name);
    }

    /// Records an EndpointSlice with the `managed-by` label of Ebb that Ebb did not write. Publishes an Event if the
    /// EndpointSlice is new.
    pub(crate) fn foreign_slice_seen(
        &mut self,
        now: Timestamp,
        namespace: &str,
        slice: &str,
        uid: &str,
        outbox: &mut Outbox,
    ) {
        let limit = &mut self.event_limit;
        self.foreign.seen(now, namespace, slice, uid, limit, outbox);
    }

    /// Records that an EndpointSlice that Ebb did not write was deleted, or no longer has the `managed-by` label of
    /// Ebb.
    pub(crate) fn foreign_slice_gone(&mut self, namespace: &str, slice: &str) {
        self.foreign.gone(namespace, slice);
    }

    /// Processes an EndpointSlice that another controller manages. `ready`: whether at least one endpoint of the
    /// EndpointSlice is ready.
    pub(crate) fn endpoints_seen(
        &mut self,
        namespace: &str,
        slice: &str,
        service: &str,
        ready: bool,
    ) {
        if self.readiness.update(namespace, slice, service, ready) {
            self.schedule_check((namespace.into(), service.into()));
        }
    }

    /// Records that an EndpointSlice that another controller manages was deleted.
    pub(crate) fn endpoints_gone(&mut self, namespace: &str, slice: &str) {
        if let Some(service) = self.readiness.remove(namespace, slice) {
            self.schedule_check((namespace.into(), service));
        }
    }

    /// Returns whether Services should be checked soon, and resets this flag.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

impl ServiceRouting {
    /// Returns the workload of each Service, as named in the recorded ports of the Service; for a Service without
    /// recorded ports, as named in its EndpointSlice.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = TargetKey> + '_ {
        let routes = self.routes.iter();
        routes.filter_map(|((namespace, _), route)| route.workload(namespace))
    }

    /// Returns the workloads whose EndpointSlices have the annotation `ebb.dev/scaled-to-zero`.
    pub(crate) fn workloads_at_zero(&self) -> impl Iterator<Item = TargetKey> + '_ {
        let routes = self.routes.iter().filter(|(_, route)| {
            let confirmed = route.confirmed();
            confirmed.is_some_and(|written| written.scaled_to_zero)
        });
        routes.filter_map(|((namespace, _), route)| route.workload(namespace))
    }

    /// Returns whether every Service of a workload has a ready endpoint of a pod.
    pub(crate) fn all_lead_to_pods(&self, entry: &WorkloadState) -> bool {
        let names = self.names(entry);
        names.iter().all(|name| self.readiness.leads_to_pods(name))
    }

    /// Updates the recorded ports of a Service; `None`: the Service has no recorded ports.
    pub(super) fn record(&mut self, now: Timestamp, name: Name, record: Option<Allotment>) {
        if record.is_none() && !self.routes.contains_key(&name) {
            return;
        }
        let route = self.routes.entry(name.clone()).or_default();
        if route.record != record {
            route.record = record;
            self.reclaim(now, &name);
            self.schedule_check(name);
        }
    }

    /// Updates the port claims of a Service from its confirmed and its requested record of activator ports. Marks the
    /// other Services that claim one of the new numbers to be checked.
    pub(super) fn reclaim(&mut self, now: Timestamp, name: &Name) {
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
            self.schedule_check(other);
        }
    }

    pub(super) fn forget_record(&mut self, namespace: &str) {
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
    pub(super) fn wants_proxy(&self) -> Option<bool> {
        let scales_elsewhere = matches!(
            &self.refusal,
            Some(Refusal {
                reason: "ConflictingAutoscaler",
                ..
            })
        );
        self.activators
            .map(|need| need.in_path && !scales_elsewhere)
    }
}
