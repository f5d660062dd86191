//! How requests come to a workload: straight to its pods, or by way of the activators.
//!
//! From the Services that lead to it, the slices that are written, and what the activators tell, to what is to be written
//! and whether the last pod may go. Every replica knows all of it; only the leader has it written.
//!
//! Bias: a workload has no pod only where every way to it can be held, and has been for a time. Failure mode: activators
//! that fall silent are taken out, and with none left the last pod stays.

mod doors;
mod service;
mod slice;
mod space;
mod told;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use ebb_autoscaler_core::{Timestamp, annotations::Mode};

use self::{
    doors::Activator,
    slice::{Heard, is_there},
    space::{Front, Space},
    told::Told,
};
pub use self::{
    service::ServiceFacts,
    slice::{Wish, Written},
};
use super::{
    Engine,
    entry::{Entry, Refusal},
    names::WorkloadId,
};

/// A slice that was asked for and that no watch has told of is asked for again after this time: an API server that
/// answers at all answers within three seconds.
const ASKED_FOR: Duration = Duration::from_secs(5);

/// Namespace and name of a Service.
type Name = (Box<str>, Box<str>);

/// What is to be done with a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Have it be so.
    Write(Box<Wish>, Written),
    /// Have none, because the Service leads to nothing that is scaled here.
    Remove {
        /// Namespace of the Service.
        namespace: Box<str>,
        /// Its name.
        service: Box<str>,
    },
}

/// All that is known of it.
#[derive(Debug, Default)]
pub(super) struct Fronts {
    spaces: HashMap<Box<str>, Space>,
    slices: HashMap<Name, Slice>,
    activators: BTreeMap<Box<str>, Activator>,
    told: Told,
    /// Whether slices should be looked at soon.
    changed: bool,
}

/// A slice of ours.
#[derive(Debug, Default)]
struct Slice {
    /// As the API server tells it.
    seen: Option<Written>,
    /// As it was asked for since, and when.
    asked: Option<(Written, Timestamp)>,
}

impl Slice {
    fn current(&self) -> Option<&Written> {
        let asked = self.asked.as_ref().map(|(written, _)| written);
        asked.or(self.seen.as_ref())
    }
}

impl Fronts {
    pub(super) fn workload_seen(&mut self, id: WorkloadId, entry: &Entry) {
        let key = &entry.target.key;
        let space = self.spaces.entry(key.namespace.clone()).or_default();
        space.workload_seen(id, &entry.target.labels);
        self.changed = true;
    }

    pub(super) fn workload_gone(&mut self, id: WorkloadId, namespace: &str) {
        if let Some(space) = self.spaces.get_mut(namespace) {
            space.workload_gone(id);
            if space.is_empty() {
                self.spaces.remove(namespace);
            }
        }
        self.changed = true;
    }

    /// Whether every way to a workload can be held.
    pub(super) fn can_be_held(&self, entry: &Entry) -> bool {
        let space = self.spaces.get(&entry.target.key.namespace);
        space.is_some_and(|space| space.can_be_held(entry.id))
    }

    /// The Services that are fronted for a workload, by name.
    pub(super) fn services(&self, entry: &Entry) -> Vec<String> {
        let fronts = self.fronts(entry);
        fronts.map(|front| front.service.name.to_string()).collect()
    }

    /// Whether all that comes to a workload comes to activators, as far as they and the API server can tell.
    pub(super) fn in_place(&self, entry: &Entry, now: Timestamp) -> bool {
        let heard: Vec<_> = self.heard().collect();
        let mut fronts = self.fronts(entry).peekable();
        fronts.peek().is_some()
            && fronts.all(|front| {
                let name = (front.service.namespace.clone(), front.service.name.clone());
                let seen = self.slices.get(&name).and_then(|slice| slice.seen.as_ref());
                seen.is_some_and(|written| {
                    slice::in_place(&wish(entry, front, true), written, &heard, now)
                })
            })
    }

    /// Something that slices depend on has changed.
    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// Activators heard of lately, and those that have fallen silent.
    pub(super) fn count(&self, now: Timestamp) -> (usize, usize) {
        let there = self.heard().filter(|heard| is_there(heard, now)).count();
        (there, self.activators.len() - there)
    }

    fn fronts(&self, entry: &Entry) -> impl Iterator<Item = Front<'_>> {
        let space = self.spaces.get(&entry.target.key.namespace);
        let id = entry.id;
        space.into_iter().flat_map(move |space| space.fronts(id))
    }

    fn heard(&self) -> impl Iterator<Item = &Heard> {
        self.activators.values().map(|activator| &activator.heard)
    }
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
    }
}

impl Engine {
    /// A Service is there, or has changed.
    pub fn service_seen(&mut self, facts: ServiceFacts) {
        let space = self.fronts.spaces.entry(facts.namespace.clone());
        space.or_default().service_seen(facts);
        self.fronts.changed = true;
    }

    /// A Service is gone.
    pub fn service_gone(&mut self, namespace: &str, name: &str) {
        if let Some(space) = self.fronts.spaces.get_mut(namespace) {
            space.service_gone(name);
            if space.is_empty() {
                self.fronts.spaces.remove(namespace);
            }
        }
        self.fronts.changed = true;
    }

    /// A slice of ours is there, or has changed.
    pub fn slice_seen(&mut self, namespace: &str, service: &str, written: Written) {
        let name = (namespace.into(), service.into());
        let slice = self.fronts.slices.entry(name).or_default();
        if slice
            .asked
            .as_ref()
            .is_some_and(|(asked, _)| *asked == written)
        {
            slice.asked = None;
        }
        slice.seen = Some(written);
        self.fronts.changed = true;
    }

    /// A slice of ours is gone, or could not be written: what was asked for has not come to be.
    pub fn slice_gone(&mut self, namespace: &str, service: &str) {
        self.fronts
            .slices
            .remove(&(namespace.into(), service.into()));
        self.fronts.changed = true;
    }

    /// A slice that somebody else writes for a Service is there, or has changed: whether an endpoint in it is ready.
    pub fn endpoints_seen(&mut self, namespace: &str, slice: &str, service: &str, ready: bool) {
        self.fronts.told.seen(namespace, slice, service, ready);
        self.fronts.changed = true;
    }

    /// One of them is gone.
    pub fn endpoints_gone(&mut self, namespace: &str, slice: &str) {
        self.fronts.told.gone(namespace, slice);
        self.fronts.changed = true;
    }

    /// A slice could not be written; it is asked for again with the next look.
    pub fn slice_failed(&mut self, namespace: &str, service: &str) {
        let name = (namespace.into(), service.into());
        if let Some(slice) = self.fronts.slices.get_mut(&name) {
            slice.asked = None;
        }
    }

    /// Whether slices should be looked at soon; asking makes it no.
    pub fn paths_changed(&mut self) -> bool {
        std::mem::take(&mut self.fronts.changed)
    }

    /// What is to be written, for whoever leads. What is given out counts as written until it is told otherwise.
    pub fn paths(&mut self, now: Timestamp) -> Vec<Path> {
        if !self.deciding || !self.leading || !self.activator {
            return Vec::new();
        }
        let Fronts {
            spaces,
            slices,
            activators,
            told,
            ..
        } = &mut self.fronts;
        let mut numbers: HashMap<u16, u32> = HashMap::new();
        for slice in slices.values_mut() {
            slice
                .asked
                .take_if(|(_, asked)| now.since(*asked) > ASKED_FOR);
            for number in slice.current().into_iter().flat_map(|it| it.ports.values()) {
                *numbers.entry(*number).or_default() += 1;
            }
        }
        let heard: Vec<_> = activators
            .values()
            .map(|activator| &activator.heard)
            .collect();
        let mut wished: HashSet<Name> = HashSet::new();
        let mut paths = Vec::new();
        for entry in self.entries.values() {
            if entry.mode == Mode::Recommend || self.recommend_only {
                continue;
            }
            let space = spaces.get(&entry.target.key.namespace);
            for front in space.into_iter().flat_map(|space| space.fronts(entry.id)) {
                let name = (front.service.namespace.clone(), front.service.name.clone());
                wished.insert(name.clone());
                let leads_to_pods = told.leads_to_pods(&name);
                let slice = slices.entry(name).or_default();
                let current = slice.current();
                // Nothing is known yet: what the leader before had written stays.
                let is = || current.is_some_and(|it| !it.endpoints.is_empty());
                // And they do not leave before nodes are told of a pod to go to.
                let proxy = entry
                    .wants_proxy()
                    .map_or_else(is, |wanted| wanted || (is() && !leads_to_pods));
                let wish = wish(entry, front, proxy || front.pods_of.is_some());
                let own = |number: u16| {
                    current.is_some_and(|it| it.ports.values().any(|port| *port == number))
                };
                let taken = |number: u16| {
                    let all = numbers.get(&number).copied().unwrap_or(0);
                    all > u32::from(own(number))
                };
                let written = slice::decide(&wish, current, &taken, &heard, now);
                if current == Some(&written) {
                    continue;
                }
                for number in written.ports.values().filter(|number| !own(**number)) {
                    *numbers.entry(*number).or_default() += 1;
                }
                slice.asked = Some((written.clone(), now));
                paths.push(Path::Write(Box::new(wish), written));
            }
        }
        let orphans = slices.keys().filter(|name| !wished.contains(*name));
        paths.extend(orphans.map(|(namespace, service)| Path::Remove {
            namespace: namespace.clone(),
            service: service.clone(),
        }));
        paths
    }
}

impl Entry {
    /// Whether activators are to be in its path; `None` before anything was decided.
    fn wants_proxy(&self) -> Option<bool> {
        let scales_elsewhere = matches!(
            &self.refusal,
            Some(Refusal {
                reason: "OwnerConflict",
                ..
            })
        );
        self.proxy.map(|(proxy, _)| proxy && !scales_elsewhere)
    }
}

#[cfg(test)]
mod tests;
