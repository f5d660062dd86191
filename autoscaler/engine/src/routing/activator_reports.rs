//! Reports of the activators: the ports on which each activator listens, and the number of requests queued at each
//! port.
//!
//! The agents do not count a queued request. Once the activator forwards the request to a pod, the agent counts the
//! request, and it is no longer queued. So the load of the pods and the queued load can be added without counting a
//! request twice. Requests per second are counted when the requests reach a pod, with one exception: requests that are
//! queued while the workload has no pod wake the workload. These requests count at once, and are subtracted from the
//! requests that the pods report later.
//!
//! Bias: a proxied Service port without queued requests contributes no measurement, rather than zeros. The activator
//! does not know the load of the pods, and the first request at zero must not be averaged with an hour of zeros.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use ebb_autoscaler_core::{Feed, Timestamp, waiting_load};
use ebb_contract::{ActivatorReport, Pod, PortReport, Receipt};

use super::{
    activator::{Activator, ActivatorInfo, ProxiedPort, Waiting, is_current},
    service::Name,
    service_routing::ServiceRouting,
};
use crate::{
    names::WorkloadId,
    sender::Sender,
    series::{STALE_AFTER, Series, Span, Update},
    workload_state::WorkloadState,
    workloads::Workloads,
};

/// Result of processing the metrics of one proxied Service port in an activator's report.
enum PortResult {
    Taken,
    Urgent(WorkloadId),
    Unknown,
    Senseless,
}

impl ServiceRouting {
    /// Processes an activator's report. Returns the workloads that need a decision at once.
    pub(crate) fn take_report(
        &mut self,
        now: Timestamp,
        report: &ActivatorReport,
        workloads: &mut Workloads,
    ) -> (Receipt, Vec<WorkloadId>) {
        let (mut receipt, mut urgent) = (Receipt::default(), Vec::new());
        let Ok(address) = report.address.parse() else {
            receipt.senseless = u32::try_from(report.ports.len()).unwrap_or(u32::MAX);
            return (receipt, urgent);
        };
        self.listening.tick(now);
        self.take_listening(now, address, report);
        for port in &report.ports {
            let counted = match self.take_port(now, &report.activator, port, workloads) {
                PortResult::Urgent(id) => {
                    urgent.push(id);
                    &mut receipt.taken
                }
                PortResult::Taken => &mut receipt.taken,
                PortResult::Unknown => &mut receipt.unknown,
                PortResult::Senseless => &mut receipt.senseless,
            };
            *counted += 1;
        }
        (receipt, urgent)
    }

    fn take_port(
        &mut self,
        now: Timestamp,
        activator: &str,
        port: &PortReport,
        workloads: &mut Workloads,
    ) -> PortResult {
        let in_namespace = self.namespaces.get(&*port.namespace);
        let entry = in_namespace
            .and_then(|it| it.leads_to(&port.service))
            .and_then(|id| workloads.get_mut(id));
        let activator = self.activators.get_mut(activator);
        let (Some(entry), Some(activator)) = (entry, activator) else {
            return PortResult::Unknown;
        };
        let asleep = entry.is_asleep();
        let Some(workload) = &mut entry.workload else {
            return PortResult::Taken;
        };
        let read = activator.sender.time(now, port.at);
        let pod = Pod {
            since: port.since,
            at: port.at,
            integral: port.queued_integral,
            in_flight: port.queued,
            started: port.queued_ever,
            ..Pod::default()
        };
        let name = (
            port.namespace.as_str().into(),
            port.service.as_str().into(),
            port.port.as_str().into(),
        );
        let epoch = activator.sender.epoch;
        let known = activator.series.get_mut(&name);
        let known = known.filter(|it| it.workload == entry.id && it.series.continues(epoch, &pod));
        let result = match known {
            Some(waiting) => waiting.series.take(&pod, now),
            None => {
                let (series, result) = Series::begin(epoch, &pod, read, now, false);
                if result != Update::Senseless {
                    let waiting = Waiting {
                        workload: entry.id,
                        series,
                        ahead: 0.0,
                    };
                    if let Some(ended) = activator.series.insert(name.clone(), waiting)
                        && ended.workload == entry.id
                    {
                        workload.forget(ended.series.feed);
                    }
                }
                result
            }
        };
        let Some(waiting) = activator.series.get_mut(&name) else {
            return PortResult::Senseless;
        };
        let span = match result {
            Update::Span(span) => span,
            Update::Senseless => return PortResult::Senseless,
            Update::Old => return PortResult::Taken,
            Update::Baseline => Span {
                concurrency: 0.0,
                requests: 0.0,
            },
        };
        let feed = &mut waiting.series.feed;
        if port.queued == 0 && span.concurrency <= 0.0 {
            if asleep {
                // The workload still has no pod, so the requests that were queued have been aborted. No pod will report
                // these requests, so they must not be subtracted from what the pods report later.
                entry.counted_ahead.replace(waiting.ahead, 0.0);
            }
            waiting.ahead = 0.0;
            workload.end(std::mem::replace(feed, Feed::starting(read)));
            return PortResult::Taken;
        }
        let urgent = if asleep {
            let (concurrency, requests) =
                waiting_load(port.queued as f64, span.concurrency, span.requests);
            waiting.ahead = entry.counted_ahead.replace(waiting.ahead, requests);
            workload.observe_waiting(feed, read, concurrency, requests)
        } else if result == Update::Baseline {
            return PortResult::Taken;
        } else {
            waiting.ahead = 0.0;
            workload.observe(feed, read, span.concurrency, 0.0)
        };
        match urgent {
            Ok(Some(_)) => PortResult::Urgent(entry.id),
            Ok(None) => PortResult::Taken,
            Err(_) => PortResult::Senseless,
        }
    }

    /// Records the ports on which an activator listens. Schedules checks of the Services whose ports have changed;
    /// of all Services if the activator itself has changed.
    fn take_listening(&mut self, now: Timestamp, address: IpAddr, report: &ActivatorReport) {
        let at = report.ports.iter().map(|port| port.at).max();
        let listens: BTreeMap<_, _> = report
            .ports
            .iter()
            .map(|port| {
                let proxied = ProxiedPort {
                    namespace: port.namespace.clone(),
                    service: port.service.clone(),
                    port: port.port.clone(),
                    number: port.number,
                };
                (proxied, port.in_path)
            })
            .collect();
        let known = self.activators.entry(report.activator.as_str().into());
        let activator = known.or_insert_with(|| Activator {
            info: ActivatorInfo {
                name: report.activator.clone(),
                address,
                at: Timestamp::from_secs(0),
                leaving: false,
                ports: BTreeMap::new(),
            },
            sender: Sender::new(&report.boot, now, at.unwrap_or(0)),
            series: HashMap::new(),
        });
        if let Some(at) = at {
            activator.sender.take_in(&report.boot, now, at);
        }
        let info = &mut activator.info;
        let all =
            !is_current(info, now) || info.address != address || info.leaving != report.leaving;
        info.address = address;
        info.leaving = report.leaving;
        info.at = now;
        let before = std::mem::replace(&mut info.ports, listens);
        if all {
            self.schedule_all_checks();
            return;
        }
        let now_listens = &info.ports;
        let differs = |port: &(&ProxiedPort, &bool), other: &BTreeMap<ProxiedPort, bool>| {
            other.get(port.0) != Some(port.1)
        };
        let opened = now_listens.iter().filter(|port| differs(port, &before));
        let closed = before.iter().filter(|port| differs(port, now_listens));
        let changed: Vec<_> = opened
            .chain(closed)
            .map(|(port, _)| name_of(port))
            .collect();
        for name in changed {
            self.schedule_check(name);
        }
    }

    /// Adds the queued requests of a workload to its metric windows before a decision at `now`. If the report of an
    /// activator is late, the last number of queued requests is assumed to continue; after [`STALE_AFTER`], the number
    /// is 0, because the queued requests of the activator are lost. Returns the number of queued requests.
    pub(crate) fn update_queued(&mut self, now: Timestamp, entry: &mut WorkloadState) -> u64 {
        let asleep = entry.is_asleep();
        let Some(workload) = &mut entry.workload else {
            return 0;
        };
        let in_namespace = self.namespaces.get(&entry.target.key.namespace);
        let mut queued = 0;
        let services = in_namespace.map(|it| it.proxied_services(entry.id));
        for proxied in services.into_iter().flatten() {
            for port in proxied.service.ports.keys() {
                let port = (
                    proxied.service.namespace.clone(),
                    proxied.service.name.clone(),
                    port.as_str().into(),
                );
                for activator in self.activators.values_mut() {
                    let Some(waiting) = activator.series.get_mut(&port) else {
                        continue;
                    };
                    let series = &mut waiting.series;
                    if now.since(series.last_report) > STALE_AFTER {
                        // The activator no longer reports, so its queued requests are assumed to be aborted.
                        if let Some(waiting) = activator.series.remove(&port) {
                            workload.forget(waiting.series.feed);
                        }
                        continue;
                    }
                    queued += series.in_flight;
                    match series.to_extend(now).filter(|_| !asleep) {
                        Some(span) => {
                            // `observe` fails only for an invalid load, which was rejected when the report arrived.
                            let _ = workload.observe(&mut series.feed, now, span.concurrency, 0.0);
                        }
                        None => workload.settle(now, &mut series.feed),
                    }
                }
            }
        }
        queued
    }

    /// Removes activators that have not sent a report for the time `after`.
    pub(crate) fn sweep(&mut self, now: Timestamp, after: Duration) {
        self.activators
            .retain(|_, activator| now.since(activator.info.at) < after);
    }
}

/// Returns the Service of a proxied Service port.
fn name_of(port: &ProxiedPort) -> Name {
    (port.namespace.as_str().into(), port.service.as_str().into())
}
