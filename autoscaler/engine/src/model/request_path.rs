//! The model of the request path through the activators: Services, ConfigMaps that record activator ports,
//! EndpointSlices, and activators that start and stop.

use std::collections::{BTreeMap, BTreeSet};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::{ActivatorReport, PortReport, allotments::Allotment};

use super::{
    super::{Engine, ObservedSlice, Outcome, Path, ServiceFacts, TargetKey},
    Random,
};

/// Namespace and name of a Service.
type Name = (Box<str>, Box<str>);

/// The true state of the request path in the API server and in the activators.
#[derive(Debug, Default)]
pub(super) struct RequestPath {
    records: BTreeMap<Box<str>, BTreeMap<Box<str>, Allotment>>,
    pub(super) slices: BTreeMap<Name, ObservedSlice>,
    /// Version of the last write to a ConfigMap that records activator ports. All these ConfigMaps share one sequence
    /// of versions.
    version: u64,
    /// Whether each activator is running.
    pub(super) there: [bool; 2],
    /// Number of queued requests, by Service.
    queued: BTreeMap<Name, u64>,
    queued_ever: u64,
    /// Writes that the model has not answered yet.
    paths: Vec<Path>,
    /// Workloads that an order of the engine has scaled to zero.
    pub(super) brought_to_zero: BTreeSet<TargetKey>,
}

impl RequestPath {
    /// Returns the Service of a workload. The Service has the same name as the workload.
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

    /// Adds the writes that the engine requests to the unanswered writes.
    pub(super) fn take_writes(&mut self, engine: &mut Engine, now: Timestamp) {
        self.paths.extend(engine.paths(now));
    }

    /// Answers one random pending write: the write is carried out, refused or left unanswered. `well`: whether every
    /// write succeeds. Returns false if no write is pending.
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

    /// Carries out a write in the model's API server.
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
            Path::Write(desired, written) => {
                let name = (
                    desired.workload.namespace.clone(),
                    desired.service.as_str().into(),
                );
                self.slices.insert(name, written.clone());
            }
            Path::Remove { namespace, service } => {
                self.slices.remove(&(namespace.clone(), service.clone()));
            }
        }
        Outcome::Done(version)
    }

    /// Reports all recorded activator ports and EndpointSlices to the engine, as the watches do.
    pub(super) fn publish(&self, engine: &mut Engine, now: Timestamp) {
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

    /// Sends the report of activator `which` to the engine, if the activator is running. The activator listens on all
    /// recorded ports, and has seen the current EndpointSlices.
    pub(super) fn report(&self, engine: &mut Engine, now: Timestamp, which: usize) {
        if !self.there[which] {
            return;
        }
        let (address, queued_ever) = (address(which), self.queued_ever);
        let all = self.records.iter().flat_map(|(namespace, record)| {
            record
                .iter()
                .map(move |(service, it)| (namespace, service, it))
        });
        let ports = all.flat_map(|(namespace, service, allotment)| {
            let name = (namespace.clone(), service.clone());
            let slice = self.slices.get(&name);
            let queued = self.queued.get(&name).copied().filter(|_| which == 0);
            let in_path = slice.is_some_and(|it| it.endpoints.contains(&address));
            let ports = allotment.ports.iter();
            ports.map(move |(port, &number)| PortReport {
                namespace: namespace.to_string(),
                service: service.to_string(),
                port: port.clone(),
                number,
                in_path,
                since: 5,
                at: now.since_epoch().as_nanos() as u64,
                queued: queued.unwrap_or(0),
                queued_ever,
                ..PortReport::default()
            })
        });
        let report = ActivatorReport {
            activator: format!("activator-{which}"),
            address: address.to_string(),
            boot: "b".to_owned(),
            leaving: false,
            ports: ports.collect(),
        };
        engine.activator_report(now, &report);
    }

    /// Sets the number of queued requests of a Service.
    pub(super) fn set_queued(&mut self, key: &TargetKey, requests: u64) {
        let name = (key.namespace.clone(), key.name.clone());
        self.queued_ever += requests;
        match requests {
            0 => self.queued.remove(&name),
            _ => self.queued.insert(name, requests),
        };
    }

    /// Returns whether a request to the Service of a workload reaches an activator.
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

    /// Returns whether the EndpointSlice of a workload has the annotation `ebb.dev/scaled-to-zero`.
    pub(super) fn is_annotated(&self, key: &TargetKey) -> bool {
        let name = (key.namespace.clone(), key.name.clone());
        self.slices.get(&name).is_some_and(|it| it.scaled_to_zero)
    }

    /// Simulates the end of the autoscaler process: each unanswered write is either carried out or lost.
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
