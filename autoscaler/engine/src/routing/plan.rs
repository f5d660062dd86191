//! The next step for one Service: its record is written before its slice, and removed after it.
//!
//! Bias: missing knowledge removes nothing. A Service whose workload is not known yet keeps its record, its slice and
//! the activators in the slice.

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

/// The plan for one Service.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) step: Step,
    /// Why the Service does not get all the ports it needs.
    pub(super) short: Option<Shortage>,
    /// The workload that the Service leads to, and whether the workload has replicas.
    pub(super) leads_to: Option<(TargetKey, bool)>,
    /// Whether its slice is to say that Ebb scaled the workload to zero.
    pub(super) scaled_to_zero: bool,
}

/// The next step.
#[derive(Debug)]
pub(super) enum Step {
    /// The record and the slice are as desired.
    Nothing,
    /// Nothing is known about the Service any more.
    Forget,
    /// Check again at this time.
    Later(Timestamp),
    /// Check again when the change of the record that is under way has ended, at this time at the latest.
    AfterRecord(Timestamp),
    Record(Option<Allotment>),
    Write(Box<DesiredSlice>, ObservedSlice),
    Remove,
    /// Report that somebody else wrote the slice.
    Foreign,
}

/// A Service whose workload is not known is checked again after this time, because a change may be in no fact.
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

    /// Returns the desired state of a Service that leads to a workload, and whether the workload has replicas.
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
        // Before the first decision, the slice stays as the last leader wrote it.
        let is = current.is_some_and(|it| !it.endpoints.is_empty());
        // Activators stay in the request path until the Service has a ready endpoint of a pod.
        let proxy = entry
            .wants_proxy()
            .map_or(is, |wanted| wanted || (is && !leads_to_pods));
        let mut desired = desired_slice(entry, proxied, proxy || proxied.pods_of.is_some());
        desired.is_last_way = !leads_to_pods;
        let marked = current.is_some_and(|it| it.scaled_to_zero);
        desired.scaled_to_zero = zero::mark(entry, marked, route.marks);
        Some((desired, entry.replicas() > 0))
    }

    /// Returns the record to write (`None`: the Service gets no port), and why ports are missing.
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
        // A record with a name that no Kubernetes object can have is not written.
        let usable = !allotment.ports.is_empty() && allotment.is_sound();
        (usable.then_some(allotment), short)
    }

    /// Returns the next step for the slice of a Service whose ports are recorded.
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
        // The last write of this leader, if there is one: somebody may have edited the slice since.
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
        // If somebody reverted the last write, it is repeated only with a backoff, not in a tight loop.
        let undone = route.last.as_ref() == Some(&written);
        let undone = route.undone.until(now).filter(|_| undone);
        match route.trouble.until(now).max(undone) {
            Some(until) => Step::Later(until),
            None => Step::Write(Box::new(desired.clone()), written),
        }
    }

    /// Returns the next step for a Service that gets no ports: the slice is removed, then the record.
    /// `may_remove`: whether they may be removed.
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

    /// Returns whether the record and the slice of a Service that leads to no workload may be removed.
    ///
    /// They may be removed if the Service is gone; if the workload is known and Ebb has not scaled it to zero (it has
    /// pods, or a person scaled it); or if its workload is known not to be one of Ebb's. They stay while it is not
    /// known what the workload is.
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
            // A workload that Ebb scaled to zero gets a pod first; see `zero`.
            Some(entry) => !self.is_ours_at_zero(entry),
            None => ownership.is_no_workload(&key),
        }
    }

    /// Returns a step that changes the record, or a step to wait if another change of the record is under way.
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
