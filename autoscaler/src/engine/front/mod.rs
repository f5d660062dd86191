//! How requests come to a workload: straight to its pods, or by way of the activators.
//!
//! From the Services that lead to it, the records and slices that are written, and what the activators tell, to what is
//! to be written and whether the last pod may go. Every replica knows all of it; only the leader has it written.
//!
//! What counts is the record in Ebb's own namespace. What a tenant can write (Services, slices, labels) leads that
//! tenant's own requests, and nobody else's.
//!
//! Bias: a workload has no pod only where every way to it can be held, and has been for a time. Failure mode: activators
//! that fall silent are taken out, and with none left the last pod stays.

mod book;
mod doors;
mod foreign;
mod listening;
mod look;
mod numbers;
mod pace;
mod plan;
mod route;
mod said;
mod service;
mod slice;
mod space;
mod told;
mod zero;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use self::{
    book::Book,
    doors::Activator,
    foreign::Foreign,
    listening::Listening,
    numbers::Numbers,
    route::{Route, Seen},
    said::Said,
    slice::{Ears, Heard, is_there},
    space::{Front, Space},
    told::Told,
    zero::{Asks, Zero},
};
pub use self::{
    book::RecordChange,
    look::{Outcome, Path},
    service::ServiceFacts,
    slice::{Wish, Written},
};
use super::{
    Engine,
    entry::{Entry, Refusal},
    names::{TargetKey, WorkloadId},
};

/// Namespace and name of a Service.
type Name = (Box<str>, Box<str>);

/// All that is known of it.
#[derive(Debug, Default)]
pub(super) struct Fronts {
    spaces: BTreeMap<Box<str>, Space>,
    routes: BTreeMap<Name, Route>,
    books: BTreeMap<Box<str>, Book>,
    numbers: Numbers,
    most_ports: MostPorts,
    activators: BTreeMap<Box<str>, Activator>,
    listening: Listening,
    told: Told,
    foreign: Foreign,
    said: Said,
    asks: HashMap<WorkloadId, Asks>,
    zeros: HashMap<WorkloadId, Zero>,
    /// Services to look at.
    dirty: BTreeSet<Name>,
    /// Services to look at later, each once.
    later: BTreeSet<(Timestamp, Name)>,
    timers: HashMap<Name, Timestamp>,
    /// Where the slow round over all Services stands.
    swept: Name,
    /// The Service that was looked at last.
    looked: Name,
    /// Whether at the last look addresses of which nothing was heard counted as gone.
    unheard_looked: bool,
    /// Activators that could be counted on at the last look.
    there: BTreeSet<Box<str>>,
    /// Whether the last look was one of a leader.
    acting: bool,
    /// Whether slices should be looked at soon.
    changed: bool,
}

/// Most proxied ports of a namespace.
#[derive(Clone, Copy, Debug)]
struct MostPorts(usize);

impl Default for MostPorts {
    /// A fiftieth of the ports that there are. A namespace of 200 Services with one port each is a large one.
    fn default() -> Self {
        Self(200)
    }
}

/// Figures of the proxied Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontFigures {
    /// Services that have ports on the activators.
    pub proxied_services: usize,
    /// Services that have not got all the ports they need.
    pub short_services: usize,
    /// Slices that claim to be Ebb's and are not.
    pub foreign_slices: usize,
    /// Keys of records that make no sense.
    pub senseless_records: usize,
    /// Slices that the API server refuses.
    pub refused_slices: usize,
}

impl Fronts {
    pub(super) fn workload_seen(&mut self, id: WorkloadId, entry: &Entry) {
        let key = &entry.target.key;
        let space = self.spaces.entry(key.namespace.clone()).or_default();
        let touched = space.workload_seen(id, &entry.target.labels);
        self.mark_in(&key.namespace, touched);
        self.mark_workload(entry);
    }

    pub(super) fn workload_gone(&mut self, id: WorkloadId, namespace: &str) {
        self.asks.remove(&id);
        self.zeros.remove(&id);
        if let Some(space) = self.spaces.get_mut(namespace) {
            let touched = space.workload_gone(id);
            if space.is_empty() {
                self.spaces.remove(namespace);
            }
            self.mark_in(namespace, touched);
        }
    }

    /// Whether every way to a workload can be held.
    pub(super) fn can_be_held(&self, entry: &Entry) -> bool {
        let space = self.spaces.get(&entry.target.key.namespace);
        space.is_some_and(|space| space.can_be_held(entry.id))
            && self.names(entry).iter().all(|name| {
                let route = self.routes.get(name);
                route.is_none_or(|route| route.short.is_none())
            })
    }

    /// The Services that are fronted for a workload, by name.
    pub(super) fn services(&self, entry: &Entry) -> Vec<String> {
        let names = self.names(entry).into_iter();
        names.map(|(_, service)| service.into()).collect()
    }

    /// Whether all that comes to a workload comes to activators, as far as they and the API server can tell.
    pub(super) fn in_place(&self, entry: &Entry, now: Timestamp) -> bool {
        let heard: Vec<_> = self.heard().collect();
        let ears = Ears {
            heard: &heard,
            listening: self.listening,
            now,
        };
        let fronts = self.fronts(entry);
        !fronts.is_empty()
            && fronts.into_iter().all(|front| {
                let route = self.routes.get(&name_of(front));
                let Some((Some(record), Some(written))) =
                    route.map(|route| (&route.record, route.confirmed()))
                else {
                    return false;
                };
                written.ports == record.ports
                    && !written.tampered
                    && slice::in_place(&wish(entry, front, true), written, ears)
            })
    }

    /// The engine is at work.
    pub(super) fn tick(&mut self, now: Timestamp) {
        self.listening.tick(now);
    }

    /// Activators heard of lately, and those that have fallen silent.
    pub(super) fn count(&self, now: Timestamp) -> (usize, usize) {
        let there = self.heard().filter(|heard| is_there(heard, now)).count();
        (there, self.activators.len() - there)
    }

    fn figures(&self) -> FrontFigures {
        let routes = || self.routes.values();
        FrontFigures {
            proxied_services: routes().filter(|it| it.record.is_some()).count(),
            short_services: routes().filter(|it| it.short.is_some()).count(),
            foreign_slices: self.foreign.count(),
            senseless_records: self.books.values().map(|book| book.senseless).sum(),
            refused_slices: routes().filter(|it| it.trouble.is_in_trouble()).count(),
        }
    }

    fn fronts(&self, entry: &Entry) -> Vec<Front<'_>> {
        let space = self.spaces.get(&entry.target.key.namespace);
        space.map_or_else(Vec::new, |space| space.fronts(entry.id))
    }

    /// The names of the Services that front a workload.
    fn names(&self, entry: &Entry) -> Vec<Name> {
        self.fronts(entry).into_iter().map(name_of).collect()
    }

    fn heard(&self) -> impl Iterator<Item = &Heard> {
        self.activators.values().map(|activator| &activator.heard)
    }

    /// A Service should be looked at.
    fn mark(&mut self, name: Name) {
        self.dirty.insert(name);
        self.changed = true;
    }

    fn mark_in(&mut self, namespace: &str, services: BTreeSet<Box<str>>) {
        for service in services {
            self.mark((namespace.into(), service));
        }
    }

    fn mark_workload(&mut self, entry: &Entry) {
        for name in self.names(entry) {
            self.mark(name);
        }
    }

    /// Every Service with a record or a slice should be looked at.
    fn mark_all(&mut self) {
        let names: Vec<_> = self.routes.keys().cloned().collect();
        self.dirty.extend(names);
        self.changed = true;
    }

    /// A Service should be looked at again at `at` at the latest.
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

fn name_of(front: Front<'_>) -> Name {
    (front.service.namespace.clone(), front.service.name.clone())
}

fn wish(entry: &Entry, front: Front<'_>, proxy: bool) -> Wish {
    let (_, activators) = entry.proxy.unwrap_or_default();
    Wish {
        workload: entry.target.key.clone(),
        service: front.service.name.to_string(),
        service_uid: front.service.uid.to_string(),
        ports: front.service.ports.clone(),
        proxy,
        activators,
        six: front.service.six,
        hard_limit: entry.hard_limit(),
        pods_of: front.pods_of.map(str::to_owned),
        scaled_to_zero: false,
        is_last_way: false,
    }
}

impl Engine {
    /// With so many proxied ports a namespace at most.
    #[must_use]
    pub fn with_most_ports(mut self, most: usize) -> Self {
        self.fronts.most_ports = MostPorts(most);
        self
    }

    /// A Service is there, or has changed.
    pub fn service_seen(&mut self, facts: ServiceFacts) {
        let namespace = facts.namespace.clone();
        let space = self.fronts.spaces.entry(namespace.clone()).or_default();
        let touched = space.service_seen(facts);
        self.fronts.mark_in(&namespace, touched);
    }

    /// A Service is gone.
    pub fn service_gone(&mut self, namespace: &str, name: &str) {
        let Some(space) = self.fronts.spaces.get_mut(namespace) else {
            return;
        };
        let touched = space.service_gone(name);
        if space.is_empty() {
            self.fronts.spaces.remove(namespace);
        }
        self.fronts.mark_in(namespace, touched);
    }

    /// The record of a namespace's ports is there, or has changed. `senseless`: how many of its keys cannot be read; they
    /// are ignored.
    pub fn record_seen(
        &mut self,
        now: Timestamp,
        namespace: &str,
        version: Option<&str>,
        allotments: BTreeMap<Box<str>, Allotment>,
        senseless: usize,
    ) {
        let book = self.fronts.books.entry(namespace.into()).or_default();
        if !book.is_news(version) {
            return;
        }
        book.senseless = senseless;
        let services = allotments.keys().cloned().collect();
        let before = std::mem::replace(&mut book.services, services);
        for service in before {
            if !allotments.contains_key(&service) {
                self.fronts.record(now, (namespace.into(), service), None);
            }
        }
        let mut workloads = Vec::new();
        for (service, allotment) in allotments {
            workloads.extend(route::workload(namespace, &allotment.workload));
            let name = (namespace.into(), service);
            self.fronts.record(now, name, Some(allotment));
        }
        for key in workloads {
            self.slice_leads_to(&key);
        }
    }

    /// The record of a namespace's ports is gone.
    pub fn record_gone(&mut self, now: Timestamp, namespace: &str) {
        let Some(book) = self.fronts.books.get_mut(namespace) else {
            return;
        };
        book.senseless = 0;
        book.is_news(None);
        for service in std::mem::take(&mut book.services) {
            self.fronts.record(now, (namespace.into(), service), None);
        }
        self.fronts.forget_book(namespace);
    }

    /// A slice is there, or has changed, that has the name Ebb gives to the slice of this Service. `claims`: it says that
    /// Ebb manages it. Whether it is Ebb's, the record says.
    pub fn slice_seen(
        &mut self,
        namespace: &str,
        service: &str,
        uid: &str,
        claims: bool,
        written: Written,
    ) {
        let name: Name = (namespace.into(), service.into());
        let route = self.fronts.routes.entry(name.clone()).or_default();
        if route
            .asked
            .as_ref()
            .is_some_and(|(asked, _)| *asked == written)
        {
            route.asked = None;
            route.doubtful = false;
        }
        let known = route.seen.as_ref();
        route.seen = Some(Seen {
            adoptable: known.map_or(!self.leading, |known| known.adoptable),
            uid: uid.into(),
            claims,
            written,
        });
        self.fronts.mark(name);
    }

    /// The slice of that name is gone.
    pub fn slice_gone(&mut self, namespace: &str, service: &str) {
        let name: Name = (namespace.into(), service.into());
        if let Some(route) = self.fronts.routes.get_mut(&name) {
            route.seen = None;
            route.removing = None;
        }
        self.fronts.mark(name);
    }

    /// A slice claims to be Ebb's and has a name that Ebb gives to none: somebody else wrote it.
    pub fn foreign_slice_seen(&mut self, now: Timestamp, namespace: &str, slice: &str, uid: &str) {
        if self.fronts.foreign.seen(namespace, slice, uid) {
            self.say_foreign(now, namespace, slice, uid);
        }
    }

    /// A slice of a name that Ebb gives to none is gone, or claims nothing any more.
    pub fn foreign_slice_gone(&mut self, namespace: &str, slice: &str) {
        self.fronts.foreign.gone(namespace, slice);
    }

    /// A slice that somebody else writes for a Service is there, or has changed: whether an endpoint in it is ready.
    pub fn endpoints_seen(&mut self, namespace: &str, slice: &str, service: &str, ready: bool) {
        if self.fronts.told.seen(namespace, slice, service, ready) {
            self.fronts.mark((namespace.into(), service.into()));
        }
    }

    /// One of them is gone.
    pub fn endpoints_gone(&mut self, namespace: &str, slice: &str) {
        if let Some(service) = self.fronts.told.gone(namespace, slice) {
            self.fronts.mark((namespace.into(), service));
        }
    }

    /// Whether slices should be looked at soon; asking makes it no.
    pub fn paths_changed(&mut self) -> bool {
        std::mem::take(&mut self.fronts.changed)
    }

    /// Figures of the proxied Services.
    #[must_use]
    pub fn front_figures(&self) -> FrontFigures {
        self.fronts.figures()
    }
}

impl Fronts {
    /// Workloads that records name.
    pub(super) fn workloads(&self) -> impl Iterator<Item = TargetKey> + '_ {
        let routes = self.routes.iter();
        routes.filter_map(|((namespace, _), route)| route.workload(namespace))
    }

    /// Workloads whose slices say that Ebb scaled them to zero.
    pub(super) fn workloads_at_zero(&self) -> impl Iterator<Item = TargetKey> + '_ {
        let routes = self.routes.iter().filter(|(_, route)| {
            let confirmed = route.confirmed();
            confirmed.is_some_and(|written| written.scaled_to_zero)
        });
        routes.filter_map(|((namespace, _), route)| route.workload(namespace))
    }

    /// Whether nodes are told of a pod for each Service of a workload.
    pub(super) fn all_lead_to_pods(&self, entry: &Entry) -> bool {
        let names = self.names(entry);
        names.iter().all(|name| self.told.leads_to_pods(name))
    }

    /// What is recorded of a Service.
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

    /// A Service's claims follow its records. Others that have claimed one of its numbers are looked at.
    fn reclaim(&mut self, now: Timestamp, name: &Name) {
        let Some(route) = self.routes.get_mut(name) else {
            return;
        };
        let new = route.reclaim(name, &mut self.numbers, now);
        let rivals: Vec<_> = new
            .into_iter()
            .flat_map(|number| self.numbers.rivals(number, name))
            .cloned()
            .collect();
        for rival in rivals {
            self.mark(rival);
        }
    }

    fn forget_book(&mut self, namespace: &str) {
        if self.books.get(namespace).is_some_and(Book::is_empty) {
            self.books.remove(namespace);
        }
    }
}

impl Entry {
    /// Whether activators are to be in its path; `None` before anything was decided.
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
