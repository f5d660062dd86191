//! The path through the activators: Services, the record of ports, slices, and activators that come and go.

use std::collections::{BTreeMap, BTreeSet};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::{allotments::Allotment, doors};

use super::{
    super::{Engine, Outcome, Path, ServiceFacts, TargetKey, Written},
    Random,
};

/// Namespace and Service.
type Name = (Box<str>, Box<str>);

/// What the API server has of it, and who listens.
#[derive(Debug, Default)]
pub(super) struct Doors {
    records: BTreeMap<Box<str>, BTreeMap<Box<str>, Allotment>>,
    pub(super) slices: BTreeMap<Name, Written>,
    /// Versions of records, all in one row.
    version: u64,
    /// Whether the activators are there.
    pub(super) there: [bool; 2],
    /// Requests that wait, by Service.
    held: BTreeMap<Name, u64>,
    held_ever: u64,
    /// Writes that are not answered.
    paths: Vec<Path>,
    /// Workloads that an order of ours has brought to zero.
    pub(super) brought_to_zero: BTreeSet<TargetKey>,
}

impl Doors {
    /// A Service for each workload, of its name.
    pub(super) fn service(key: &TargetKey) -> ServiceFacts {
        let labels = [("app".to_owned(), key.name.to_string())];
        ServiceFacts {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: format!("service-{}-{}", key.namespace, key.name).into(),
            selector: labels.into(),
            ports: [("http".to_owned(), None)].into(),
            ..ServiceFacts::default()
        }
    }

    /// Takes what the engine wants written.
    pub(super) fn look(&mut self, engine: &mut Engine, now: Timestamp) {
        self.paths.extend(engine.paths(now));
    }

    /// The API server answers one write, or refuses it, or is silent about it.
    pub(super) fn answer(
        &mut self,
        engine: &mut Engine,
        now: Timestamp,
        random: &mut Random,
        well: bool,
    ) -> bool {
        if self.paths.is_empty() {
            return false;
        }
        let path = self.paths.swap_remove(random.below(self.paths.len()));
        let outcome = match random.below(8) {
            0 if !well => Outcome::Refused {
                why: "exceeded quota".to_owned(),
                terminating: false,
            },
            1 if !well => {
                if random.once_in(2) {
                    self.write(&path);
                }
                Outcome::Unanswered
            }
            _ => self.write(&path),
        };
        engine.path_done(now, &path, &outcome);
        true
    }

    /// Carries a write out.
    fn write(&mut self, path: &Path) -> Outcome {
        let mut version = None;
        match path {
            Path::Record(change) => {
                let record = self.records.entry(change.namespace.clone()).or_default();
                for (service, allotment) in &change.changes {
                    match allotment {
                        Some(allotment) => record.insert(service.clone(), allotment.clone()),
                        None => record.remove(service),
                    };
                }
                self.version += 1;
                version = Some(self.version.to_string().into());
            }
            Path::Write(wish, written) => {
                let name = (
                    wish.workload.namespace.clone(),
                    wish.service.as_str().into(),
                );
                self.slices.insert(name, written.clone());
            }
            Path::Remove { namespace, service } => {
                self.slices.remove(&(namespace.clone(), service.clone()));
            }
        }
        Outcome::Done(version)
    }

    /// Watches tell the engine all of it, as it is now.
    pub(super) fn tell(&self, engine: &mut Engine, now: Timestamp) {
        for (namespace, record) in &self.records {
            let version = self.version.to_string();
            engine.record_seen(now, namespace, Some(&version), record.clone(), 0);
        }
        for ((namespace, service), written) in &self.slices {
            engine.slice_seen(namespace, service, "s", true, written.clone());
        }
        let gone = self
            .records
            .iter()
            .flat_map(|(namespace, record)| record.keys().map(move |it| (namespace, it)))
            .filter(|&(namespace, service)| {
                !self
                    .slices
                    .contains_key(&(namespace.clone(), service.clone()))
            });
        for (namespace, service) in gone {
            engine.slice_gone(namespace, service);
        }
    }

    /// An activator that is there reports: it listens at all that is recorded, and sees the slices as they are.
    pub(super) fn report(&self, engine: &mut Engine, now: Timestamp, which: usize) {
        if !self.there[which] {
            return;
        }
        let (address, held_ever) = (address(which), self.held_ever);
        let all = self.records.iter().flat_map(|(namespace, record)| {
            record
                .iter()
                .map(move |(service, it)| (namespace, service, it))
        });
        let doors = all.flat_map(|(namespace, service, allotment)| {
            let name = (namespace.clone(), service.clone());
            let slice = self.slices.get(&name);
            let held = self.held.get(&name).copied().filter(|_| which == 0);
            let in_path = slice.is_some_and(|it| it.endpoints.contains(&address));
            let ports = allotment.ports.iter();
            ports.map(move |(port, &number)| doors::Door {
                namespace: namespace.to_string(),
                service: service.to_string(),
                port: port.clone(),
                number,
                in_path,
                since: 5,
                at: now.since_epoch().as_nanos() as u64,
                held: held.unwrap_or(0),
                held_ever,
                ..doors::Door::default()
            })
        });
        let report = doors::Doors {
            activator: format!("activator-{which}"),
            address: address.to_string(),
            boot: "b".to_owned(),
            leaving: false,
            doors: doors.collect(),
        };
        engine.doors(now, &report);
    }

    /// Somebody waits at a Service, or nobody any more.
    pub(super) fn hold(&mut self, key: &TargetKey, requests: u64) {
        let name = (key.namespace.clone(), key.name.clone());
        self.held_ever += requests;
        match requests {
            0 => self.held.remove(&name),
            _ => self.held.insert(name, requests),
        };
    }

    /// Whether a request to the Service of a workload reaches an activator.
    pub(super) fn is_reachable(&self, key: &TargetKey) -> bool {
        let name = (key.namespace.clone(), key.name.clone());
        let slice = self.slices.get(&name);
        slice.is_some_and(|slice| {
            let there = (0..self.there.len()).filter(|&which| self.there[which]);
            there
                .map(address)
                .any(|address| slice.endpoints.contains(&address))
        })
    }

    /// Whether the slice of a workload says that Ebb scaled it to zero.
    pub(super) fn is_marked(&self, key: &TargetKey) -> bool {
        let name = (key.namespace.clone(), key.name.clone());
        self.slices.get(&name).is_some_and(|it| it.scaled_to_zero)
    }

    /// The program ends: what is under way comes about or does not.
    pub(super) fn restart(&mut self, random: &mut Random) {
        for path in std::mem::take(&mut self.paths) {
            if random.once_in(2) {
                self.write(&path);
            }
        }
    }
}

fn address(which: usize) -> std::net::IpAddr {
    [10, 0, 0, 1 + which as u8].into()
}
