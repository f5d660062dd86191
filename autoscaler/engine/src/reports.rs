//! Reports of the senders: how many requests each pod has served.

use std::collections::BTreeMap;

use ebb_autoscaler_core::Timestamp;
use ebb_contract::{Receipt, Report};

use super::{
    Engine,
    entry::WorkloadState,
    names::WorkloadId,
    pods::Pods,
    sender::Sender,
    series::{Series, Update},
};

/// The pods that a sender may report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// Pods that run on this node.
    Node(&'a str),
    /// All pods of the cluster.
    Cluster,
}

/// The result for the figures of one pod.
enum PodResult {
    Taken,
    /// Taken, and the workload should be decided at once.
    Pressing(WorkloadId),
    Unknown,
    Foreign,
    Senseless,
}

impl Engine {
    /// Takes in a report, and requests decisions for the workloads that should not wait.
    pub fn report(
        &mut self,
        now: Timestamp,
        scope: Scope<'_>,
        sender: &str,
        report: &Report<'_>,
    ) -> Receipt {
        let mut receipt = Receipt::default();
        let Some(newest) = report.pods.iter().map(|pod| pod.at).max() else {
            return receipt;
        };
        match self.senders.get_mut(sender) {
            Some(known) => known.take_in(&report.boot, now, newest),
            None => {
                let new = Sender::new(&report.boot, now, newest);
                self.senders.insert(sender.into(), new);
            }
        }
        let Some(sender) = self.senders.get(sender) else {
            return receipt;
        };
        let mut pressing = Vec::new();
        for reported in &report.pods {
            let (pods, entries) = (&mut self.pods, &mut self.entries);
            let counted = match take(pods, entries, now, scope, sender, reported) {
                PodResult::Pressing(id) => {
                    pressing.push(id);
                    &mut receipt.taken
                }
                PodResult::Taken => &mut receipt.taken,
                PodResult::Unknown => &mut receipt.unknown,
                PodResult::Foreign => &mut receipt.foreign,
                PodResult::Senseless => &mut receipt.senseless,
            };
            *counted += 1;
        }
        for id in pressing {
            self.request_decision(now, id);
        }
        receipt
    }
}

/// Takes in the figures of one pod.
fn take(
    pods: &mut Pods,
    entries: &mut BTreeMap<WorkloadId, Box<WorkloadState>>,
    now: Timestamp,
    scope: Scope<'_>,
    sender: &Sender,
    reported: &ebb_contract::Pod<'_>,
) -> PodResult {
    let Some(pod) = pods.find(&reported.uid).and_then(|id| pods.get_mut(id)) else {
        return PodResult::Unknown;
    };
    if let Scope::Node(node) = scope
        && pod.facts.node.as_deref() != Some(node)
    {
        return PodResult::Foreign;
    }
    let mut entry = pod.workload.and_then(|id| entries.get_mut(&id));
    let read = sender.time(now, reported.at);
    let known = pod.series.as_mut();
    let update = match known.filter(|series| series.continues(sender.epoch, reported)) {
        Some(series) => series.take(reported, now),
        None => {
            // A pod that was not ready yet has served nothing.
            let is_new = pod.series.is_none() && !pod.facts.ready;
            let (series, result) = Series::begin(sender.epoch, reported, read, now, is_new);
            if result == Update::Senseless {
                return PodResult::Senseless;
            }
            let ended = pod.series.replace(series);
            let workload = entry.as_mut().and_then(|entry| entry.workload.as_mut());
            if let (Some(ended), Some(workload)) = (ended, workload) {
                workload.forget(ended.feed);
            }
            result
        }
    };
    let span = match update {
        Update::Span(span) => span,
        Update::Senseless => return PodResult::Senseless,
        Update::Baseline | Update::Old => return PodResult::Taken,
    };
    let Some(entry) = entry else {
        return PodResult::Unknown;
    };
    let requests = entry.counted_ahead.subtract_from(span.requests);
    let (Some(workload), Some(series)) = (&mut entry.workload, &mut pod.series) else {
        return PodResult::Taken;
    };
    match workload.observe(&mut series.feed, read, span.concurrency, requests) {
        Ok(Some(_)) => PodResult::Pressing(entry.id),
        Ok(None) => PodResult::Taken,
        Err(_) => PodResult::Senseless,
    }
}
