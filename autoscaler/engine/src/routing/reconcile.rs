//! Checks Services, and returns the writes for the leader. A Service is checked after a relevant change, and in a slow
//! sweep over all Services.
//!
//! Failure mode: a change that is not reported to the engine is found only by the slow sweep, which checks every
//! Service within some minutes.

use std::collections::BTreeMap;

use ebb_autoscaler_core::Timestamp;
use ebb_contract::{
    allotments::{Allotment, MOST_PORTS, PORTS},
    slices,
};

use super::{
    activator::is_current,
    namespace_record::RecordChange,
    path::{Outcome, Path},
    plan::{Plan, Step},
    port_numbers::Shortage,
    route::PENDING_FOR,
    service::Name,
    service_routing::ServiceRouting,
    slice::ObservedSlice,
};
use crate::{
    effect::Notice, names::TargetKey, outbox::Outbox, ownership::Ownership, workloads::Workloads,
};

/// Maximum number of Services checked in one call; the call then holds the lock of the engine for some milliseconds.
const AT_ONCE: usize = 1_000;
/// Number of Services that each call checks although no change was reported: the slow sweep over all Services. With one
/// call per second, a sweep over 10 000 Services takes about three minutes (10 000 / 64 = 156 s).
const SLOWLY: usize = 64;

/// Changes of recorded activator ports, by namespace and Service; `None`: the record of the Service is removed.
type Changes = BTreeMap<Box<str>, BTreeMap<Box<str>, Option<Allotment>>>;

impl ServiceRouting {
    /// Returns the writes that the caller must send to the API server now. A write is pending until [`Self::path_done`]
    /// is called with the outcome of the write.
    pub(crate) fn paths(
        &mut self,
        now: Timestamp,
        workloads: &Workloads,
        ownership: &Ownership,
        outbox: &mut Outbox,
    ) -> Vec<Path> {
        if !self.acting {
            self.foreign.report_all(now, &mut self.event_limit, outbox);
        }
        self.gather(now);
        let mut paths = Vec::new();
        let mut changes = Changes::new();
        for _ in 0..AT_ONCE {
            let Some(name) = self.next_dirty() else {
                break;
            };
            if let Some(route) = self.routes.get_mut(&name) {
                let requested = &mut route.requested;
                requested.take_if(|(_, at)| now.since(*at) >= PENDING_FOR);
            }
            let plan = self.plan(&name, now, workloads, ownership);
            self.note(&name, now, &plan, outbox);
            self.carry_out(&name, now, plan, &mut paths, &mut changes, outbox);
        }
        self.changed |= !self.dirty.is_empty();
        for (namespace, changes) in changes {
            let record = self.records.entry(namespace.clone()).or_default();
            paths.push(Path::Record(record.change(&namespace, changes, now)));
        }
        paths
    }

    /// Records that this replica sends no writes to the API server at present, for example because it is not the
    /// leader.
    pub(crate) fn pause(&mut self) {
        self.acting = false;
    }

    /// Records the outcome of a write to the API server.
    pub(crate) fn path_done(
        &mut self,
        now: Timestamp,
        path: &Path,
        outcome: &Outcome,
        workloads: &Workloads,
        outbox: &mut Outbox,
    ) {
        let (name, about, written) = match path {
            Path::Record(change) => return self.record_done(now, change, outcome),
            Path::Write(desired, written) => {
                let about = desired.workload.clone();
                let name = (about.namespace.clone(), desired.service.as_str().into());
                (name, about, Some(written))
            }
            Path::Remove { namespace, service } => {
                let name = (namespace.clone(), service.clone());
                let route = self.routes.get(&name);
                let workload = route.and_then(|route| route.workload(namespace));
                let about =
                    workload.unwrap_or_else(|| TargetKey::new("", "Service", namespace, service));
                (name, about, None)
            }
        };
        if let Some(why) = self.slice_done(now, &name, written, outcome)
            && self.event_limit.admits(&name.0, "SliceRejected", now)
        {
            let entry = workloads.find(&about);
            let verb = written.map_or("removed", |_| "written");
            outbox.say(Notice {
                uid: entry.map_or_else(Box::default, |entry| entry.target.uid.clone()),
                about,
                warning: true,
                reason: "SliceRejected",
                note: format!(
                    "EndpointSlice {} cannot be {verb}, trying again: {why}",
                    slices::name(&name.1)
                ),
            });
        }
    }

    /// Carries out the planned next step for a Service.
    fn carry_out(
        &mut self,
        name: &Name,
        now: Timestamp,
        plan: Plan,
        paths: &mut Vec<Path>,
        changes: &mut Changes,
        outbox: &mut Outbox,
    ) {
        let route = self.routes.entry(name.clone()).or_default();
        match plan.step {
            Step::Nothing | Step::Forget => {
                if route.is_empty() && plan.short.is_none() && plan.leads_to.is_none() {
                    self.reclaim(now, name);
                    self.routes.remove(name);
                }
            }
            Step::Later(at) => self.schedule_check_at(at, name),
            Step::AfterRecord(at) => {
                let record = self.records.entry(name.0.clone()).or_default();
                record.waiting.insert(name.1.clone());
                self.schedule_check_at(at, name);
            }
            Step::Record(record) => {
                route.requested_record = Some(record.clone());
                self.reclaim(now, name);
                let changes = changes.entry(name.0.clone()).or_default();
                changes.insert(name.1.clone(), record);
            }
            Step::Write(desired, written) => {
                if route.last.as_ref() == Some(&written) {
                    route.undone.failed(now, true);
                }
                route.requested = Some((written.clone(), now));
                paths.push(Path::Write(desired, written));
                self.schedule_check_at(now + PENDING_FOR, name);
            }
            Step::Remove => {
                route.removing = Some(now);
                paths.push(Path::Remove {
                    namespace: name.0.clone(),
                    service: name.1.clone(),
                });
                self.schedule_check_at(now + PENDING_FOR, name);
            }
            Step::Foreign => {
                let existing = route.existing.as_ref();
                let uid = existing.map_or_else(Box::default, |it| it.uid.clone());
                let slice = slices::name(&name.1);
                return self.foreign_slice_seen(now, &name.0, &slice, &uid, outbox);
            }
        }
        self.foreign.gone(&name.0, &slices::name(&name.1));
    }

    /// Records whether the plan for a Service sets the annotation `ebb.dev/scaled-to-zero` and whether ports are
    /// missing. Publishes an Event about a new shortage of ports.
    fn note(&mut self, name: &Name, now: Timestamp, plan: &Plan, outbox: &mut Outbox) {
        let route = self.routes.entry(name.clone()).or_default();
        if let Some((_, has_pods)) = plan.leads_to {
            route.annotated = plan.scaled_to_zero && (has_pods || route.annotated);
        }
        let short = plan.short.filter(|_| route.short != plan.short);
        route.short = plan.short;
        if let Some(short) = short {
            self.report_shortage(now, name, short, outbox);
        }
    }

    fn report_shortage(
        &mut self,
        now: Timestamp,
        name: &Name,
        short: Shortage,
        outbox: &mut Outbox,
    ) {
        if !self.event_limit.admits(&name.0, "PortLimit", now) {
            return;
        }
        let why = match short {
            Shortage::Namespace => format!(
                "the namespace has reached its limit of {} proxied ports (option --max-ports-per-namespace of the autoscaler)",
                self.most_ports.0
            ),
            Shortage::Cluster => format!("all {} ports on the activators are in use", PORTS.len()),
            Shortage::Service => format!("the Service has more than {MOST_PORTS} TCP ports"),
        };
        let in_namespace = self.namespaces.get(&name.0);
        let uid = in_namespace.and_then(|it| it.service(&name.1));
        outbox.say(Notice {
            about: TargetKey::new("", "Service", &name.0, &name.1),
            uid: uid.map_or_else(Box::default, |facts| facts.uid.clone()),
            warning: true,
            reason: "PortLimit",
            note: format!(
                "no further port of this Service goes through the activators, and its workload keeps one pod: {why}"
            ),
        });
    }

    /// Records the outcome of a write or a removal of an EndpointSlice. `written`: the written content; `None`: the
    /// EndpointSlice was removed. Returns the error message if an Event should report the failure.
    fn slice_done(
        &mut self,
        now: Timestamp,
        name: &Name,
        written: Option<&ObservedSlice>,
        outcome: &Outcome,
    ) -> Option<String> {
        let route = self.routes.get_mut(name)?;
        let removed = written.is_none();
        let mut say = None;
        match outcome {
            Outcome::Done(_) => {
                route.trouble.over();
                route.reported = false;
                route.last = written.cloned();
            }
            // The namespace is being deleted, and its EndpointSlices are deleted with it. So this outcome counts as a
            // success.
            Outcome::Refused {
                terminating: true, ..
            } if removed => route.trouble.over(),
            Outcome::Refused { why, terminating } => {
                route.trouble.failed(now, true);
                if !terminating && !std::mem::replace(&mut route.reported, true) {
                    say = Some(why.clone());
                }
            }
            Outcome::Unanswered => {
                route.trouble.failed(now, false);
                route.doubtful |= !removed;
            }
        }
        route.removing = None;
        let gone = removed && !route.trouble.is_in_trouble();
        if gone {
            (route.existing, route.requested, route.doubtful) = (None, None, false);
        } else if route.trouble.is_in_trouble() {
            route.requested = None;
        }
        match route.trouble.until(now) {
            Some(until) => self.schedule_check_at(until, name),
            None if gone => self.schedule_check(name.clone()),
            None => {}
        }
        say
    }

    /// Adds to the Services to check: Services whose scheduled time has passed, Services that a change of activators
    /// affects, and the next Services of the slow sweep.
    pub(super) fn gather(&mut self, now: Timestamp) {
        if !std::mem::replace(&mut self.acting, true) {
            self.schedule_all_checks();
            for route in self.routes.values_mut() {
                // Another leader may have written the EndpointSlice since the last write of this replica.
                route.last = None;
            }
            for (namespace, in_namespace) in &self.namespaces {
                let services = in_namespace.services_after("", usize::MAX);
                let names = services.map(|service| (namespace.clone(), service.clone()));
                self.dirty.extend(names);
            }
        }
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, name)) = self.later.pop_first() {
                self.timers.remove(&name);
                self.dirty.insert(name);
            }
        }
        let there = self.activators.iter();
        let there = there.filter(|(_, one)| match one.info.leaving {
            true => false,
            false => is_current(&one.info, now) || !self.listening.is_stale(one.info.at, now),
        });
        let there = there.map(|(name, _)| name.clone()).collect();
        let unreported_has_changed =
            self.listening.is_unreported_gone(now) != self.unreported_at_last_check;
        if self.there != there || unreported_has_changed {
            self.there = there;
            self.unreported_at_last_check = self.listening.is_unreported_gone(now);
            self.schedule_all_checks();
        }
        self.sweep_some();
    }

    /// Adds the next Services of the slow sweep to the Services to check. The sweep includes Services that no longer
    /// exist but still have routing state.
    fn sweep_some(&mut self) {
        let routes = self.routes.range((
            std::ops::Bound::Excluded(self.swept.clone()),
            std::ops::Bound::Unbounded,
        ));
        let mut names: Vec<Name> = routes.take(SLOWLY).map(|(name, _)| name.clone()).collect();
        let from = self.namespaces.range(self.swept.0.clone()..);
        let services = from.flat_map(|(namespace, in_namespace)| {
            let after = match *namespace == self.swept.0 {
                true => &*self.swept.1,
                false => "",
            };
            let services = in_namespace.services_after(after, SLOWLY);
            services.map(move |service| (namespace.clone(), service.clone()))
        });
        names.extend(services.take(SLOWLY));
        names.sort_unstable();
        names.dedup();
        names.truncate(SLOWLY);
        self.swept = match names.last() {
            Some(last) if names.len() == SLOWLY => last.clone(),
            _ => Name::default(),
        };
        self.dirty.extend(names);
    }

    /// Removes and returns the next Service to check, in round-robin order, so that one namespace cannot delay the
    /// others.
    fn next_dirty(&mut self) -> Option<Name> {
        let after = (
            std::ops::Bound::Excluded(&self.last_checked),
            std::ops::Bound::Unbounded,
        );
        let next = self
            .dirty
            .range(after)
            .next()
            .or_else(|| self.dirty.first());
        let next = next.cloned()?;
        self.dirty.remove(&next);
        self.last_checked = next.clone();
        Some(next)
    }

    fn record_done(&mut self, now: Timestamp, change: &RecordChange, outcome: &Outcome) {
        let namespace = &change.namespace;
        let record = self.records.entry(namespace.clone()).or_default();
        record.answered();
        let waiting = std::mem::take(&mut record.waiting);
        let until = match outcome {
            Outcome::Done(version) => {
                record.backoff.over();
                record.is_news(version.as_deref());
                for (service, entry) in &change.changes {
                    match entry {
                        Some(_) => record.services.insert(service.clone()),
                        None => record.services.remove(service),
                    };
                }
                None
            }
            Outcome::Refused { .. } | Outcome::Unanswered => {
                let answered = matches!(outcome, Outcome::Refused { .. });
                record.backoff.failed(now, answered);
                record.backoff.until(now)
            }
        };
        for (service, record) in &change.changes {
            let name = (namespace.clone(), service.clone());
            if let Some(route) = self.routes.get_mut(&name) {
                route.requested_record = None;
                if until.is_none() {
                    route.record = record.clone();
                }
            }
            self.reclaim(now, &name);
        }
        for service in change.changes.keys().chain(&waiting) {
            let name = (namespace.clone(), service.clone());
            match until {
                Some(until) => self.schedule_check_at(until, &name),
                None => self.schedule_check(name),
            }
        }
        self.forget_record(namespace);
    }
}
