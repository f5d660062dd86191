//! The next step for one Service. The activator ports of the Service are recorded before its EndpointSlice is written.
//! The record is removed only after the EndpointSlice has been removed.
//!
//! Bias: nothing is removed because of missing facts. A Service whose workload is not known yet keeps its recorded
//! ports, its EndpointSlice and the activators in the EndpointSlice.

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use super::{
    activator::ActivatorReports,
    port_numbers::Shortage,
    route::{PENDING_FOR, Route},
    service::Name,
    service_routing::{ServiceRouting, desired_slice},
    slice::{self, DesiredSlice, ObservedSlice},
    zero,
};
use crate::{TargetKey, ownership::Ownership, workloads::Workloads};

/// The next step for one Service, with the facts that led to this step.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) step: Step,
    /// Reason why the Service does not get all the ports it needs; `None`: it gets all ports.
    pub(super) short: Option<Shortage>,
    /// The workload that the Service routes to, and whether the workload has replicas.
    pub(super) leads_to: Option<(TargetKey, bool)>,
    /// Whether the EndpointSlice is to have the annotation `ebb.dev/scaled-to-zero`.
    pub(super) scaled_to_zero: bool,
}

/// The next step for a Service.
#[derive(Debug)]
pub(super) enum Step {
    /// The recorded ports and the EndpointSlice are as desired.
    Nothing,
    /// The Service needs no routing state, and its state can be removed.
    Forget,
    /// The Service must be checked again at this time.
    Later(Timestamp),
    /// The Service must be checked again when the pending change of the recorded ports has ended, and no later than
    /// this time.
    AfterRecord(Timestamp),
    Record(Option<Allotment>),
    Write(Box<DesiredSlice>, ObservedSlice),
    Remove,
    /// Publish an Event: the EndpointSlice `SERVICE-ebb` of this Service was not written by Ebb.
    Foreign,
}

/// Interval between checks of a Service whose workload is not known. The interval is needed because some changes are
/// not reported to the engine.
const UNKNOWN_AGAIN: std::time::Duration = std::time::Duration::from_secs(30);

impl ServiceRouting {
    /// Returns the plan for a Service.
    pub(super) fn plan(
        &self,
        name: &Name,
        now: Timestamp,
        workloads: &Workloads,
        ownership: &Ownership,
    ) -> Plan {
        let none = Route::default();
        let route = self.routes.get(name).unwrap_or(&none);
        let may_remove = || self.may_remove(name, workloads, ownership);
        let Some((desired, has_pods)) = self.desired(name, route, workloads) else {
            return Plan {
                step: self.without(name, route, now, may_remove),
                short: self.too_many_ports(name),
                leads_to: None,
                scaled_to_zero: false,
            };
        };
        let (allotment, short) = self.allotment(name, route, &desired, now);
        let step = match allotment {
            None => self.without(name, route, now, may_remove),
            Some(allotment) if route.record.as_ref() != Some(&allotment) => {
                self.when_free(name, now, Step::Record(Some(allotment)))
            }
            Some(allotment) => self.slice(route, &desired, &allotment, now),
        };
        Plan {
            step,
            short,
            leads_to: Some((desired.workload.clone(), has_pods)),
            scaled_to_zero: desired.scaled_to_zero,
        }
    }

    /// Returns the desired state of a Service that routes to a workload, and whether the workload has replicas; `None`
    /// if the Service is not to be proxied.
    fn desired(
        &self,
        name: &Name,
        route: &Route,
        workloads: &Workloads,
    ) -> Option<(DesiredSlice, bool)> {
        let in_namespace = self.namespaces.get(&name.0)?;
        let (id, proxied) = in_namespace.proxied_service(&name.1)?;
        let entry = workloads.get(id)?;
        if entry.recommends() {
            return None;
        }
        let current = route.current();
        let leads_to_pods = self.readiness.leads_to_pods(name);
        // Before the first decision for the workload, the activators in the EndpointSlice remain as the previous leader
        // wrote them.
        let is = current.is_some_and(|it| !it.endpoints.is_empty());
        // Activators stay in the request path until the Service has a ready endpoint of a pod.
        let proxy = entry
            .wants_proxy()
            .map_or(is, |wanted| wanted || (is && !leads_to_pods));
        let mut desired = desired_slice(entry, proxied, proxy || proxied.pods_of.is_some());
        desired.is_last_way = !leads_to_pods;
        let annotated = current.is_some_and(|it| it.scaled_to_zero);
        desired.scaled_to_zero = zero::has_zero_annotation(entry, annotated, route.annotated);
        Some((desired, entry.replicas() > 0))
    }

    /// Returns the ports to record (`None`: the Service gets no port), and the reason if ports are missing.
    fn allotment(
        &self,
        name: &Name,
        route: &Route,
        desired: &DesiredSlice,
        now: Timestamp,
    ) -> (Option<Allotment>, Option<Shortage>) {
        let none = std::collections::BTreeMap::new();
        let adopted = route.confirmed().map(|written| &written.ports);
        let had = match &route.record {
            Some(record) => &record.ports,
            None => adopted.unwrap_or(&none),
        };
        let most = self.most_ports.0;
        let numbers = &self.numbers;
        let (ports, short) = numbers.allot(name, desired.proxied_port_names(), had, most, now);
        let since = route.record.as_ref().map(|record| record.since);
        let allotment = Allotment {
            service_uid: desired.service_uid.clone(),
            workload: desired.workload_text(),
            ports,
            since: since.unwrap_or(now.since_epoch().as_secs()),
            hard_limit: desired.hard_limit,
            pods_of: desired.pods_of.clone(),
            ipv6: desired.six,
        };
        // Invalid ports, for example with a name that no Kubernetes object can have, are not recorded.
        let usable = !allotment.ports.is_empty() && allotment.is_sound();
        (usable.then_some(allotment), short)
    }

    /// Returns the next step for the EndpointSlice of a Service whose ports are recorded.
    fn slice(
        &self,
        route: &Route,
        desired: &DesiredSlice,
        record: &Allotment,
        now: Timestamp,
    ) -> Step {
        let current = route.current();
        let activators: Vec<_> = self.activator_infos().collect();
        let reports = ActivatorReports {
            activators: &activators,
            listening: self.listening,
            now,
        };
        // The new content is based on the last write of this leader, if one exists, because another client may have
        // edited the EndpointSlice afterwards.
        let basis = match (&route.requested, &route.last) {
            (None, Some(last)) => Some(last),
            _ => current,
        };
        let written = slice::decide(desired, &record.ports, basis, reports);
        if current == Some(&written) {
            return match &route.requested {
                Some((_, requested)) => Step::Later(*requested + PENDING_FOR),
                None => Step::Nothing,
            };
        }
        // If another client reverted the last write, the write is repeated with a backoff.
        let undone = route.last.as_ref() == Some(&written);
        let undone = route.undone.until(now).filter(|_| undone);
        match route.trouble.until(now).max(undone) {
            Some(until) => Step::Later(until),
            None => Step::Write(Box::new(desired.clone()), written),
        }
    }

    /// Returns the next step for a Service that gets no ports: the EndpointSlice is removed first, then the recorded
    /// ports. `may_remove`: whether both may be removed.
    fn without(
        &self,
        name: &Name,
        route: &Route,
        now: Timestamp,
        may_remove: impl Fn() -> bool,
    ) -> Step {
        let has_slice = route.current().is_some() || route.doubtful;
        if !has_slice && route.record.is_none() {
            let claimed = route.existing.as_ref().is_some_and(|it| it.claims);
            return match (claimed, route.is_empty()) {
                (true, _) => Step::Foreign,
                (false, true) => Step::Forget,
                (false, false) => Step::Nothing,
            };
        }
        if !may_remove() {
            return Step::Later(now + UNKNOWN_AGAIN);
        }
        if !has_slice {
            return self.when_free(name, now, Step::Record(None));
        }
        let under_way = route.removing.map(|requested| requested + PENDING_FOR);
        let under_way = under_way.filter(|until| *until > now);
        match route.trouble.until(now).max(under_way) {
            Some(until) => Step::Later(until),
            None => Step::Remove,
        }
    }

    /// Returns whether the recorded ports and the EndpointSlice of a Service without a workload may be removed.
    ///
    /// Both may be removed in three cases: the Service was deleted; Ebb manages the recorded workload and has not
    /// scaled it to zero (the workload has pods, or a person scaled it to zero); or the recorded object is known not to
    /// be a workload of Ebb. Both stay while the state of the recorded object is unknown.
    fn may_remove(&self, name: &Name, workloads: &Workloads, ownership: &Ownership) -> bool {
        let in_namespace = self.namespaces.get(&name.0);
        if in_namespace.is_none_or(|it| it.service(&name.1).is_none()) {
            return true;
        }
        let Some(route) = self.routes.get(name) else {
            return true;
        };
        let Some(key) = route.workload(&name.0) else {
            return true;
        };
        match workloads.find(&key) {
            // A workload that Ebb scaled to zero gets a pod before its EndpointSlice is removed; see `zero.rs`.
            Some(entry) => !self.is_ours_at_zero(entry),
            None => ownership.is_no_workload(&key),
        }
    }

    /// Returns `step`, which changes the recorded ports of a namespace. If another change of these ports is pending,
    /// returns [`Step::AfterRecord`] instead, because only one change may be pending.
    fn when_free(&self, name: &Name, now: Timestamp, step: Step) -> Step {
        let record = self.records.get(&name.0);
        match record.and_then(|record| record.busy_until(now)) {
            Some(until) => Step::AfterRecord(until),
            None => step,
        }
    }

    fn too_many_ports(&self, name: &Name) -> Option<Shortage> {
        let in_namespace = self.namespaces.get(&name.0)?;
        let too_many = in_namespace.service(&name.1)?.too_many_ports;
        (too_many && in_namespace.leads_to(&name.1).is_some()).then_some(Shortage::Service)
    }
}
