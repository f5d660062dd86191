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
enum Taken {
    Yes,
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
            Some(known) => known.hear(&report.boot, now, newest),
            None => {
                let new = Sender::new(&report.boot, now, newest);
                self.senders.insert(sender.into(), new);
            }
        }
        let Some(sender) = self.senders.get(sender) else {
            return receipt;
        };
        let mut pressing = Vec::new();
        for told in &report.pods {
            let (pods, entries) = (&mut self.pods, &mut self.entries);
            let counted = match take(pods, entries, now, scope, sender, told) {
                Taken::Pressing(id) => {
                    pressing.push(id);
                    &mut receipt.taken
                }
                Taken::Yes => &mut receipt.taken,
                Taken::Unknown => &mut receipt.unknown,
                Taken::Foreign => &mut receipt.foreign,
                Taken::Senseless => &mut receipt.senseless,
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
    told: &ebb_contract::Pod<'_>,
) -> Taken {
    let Some(pod) = pods.find(&told.uid).and_then(|id| pods.get_mut(id)) else {
        return Taken::Unknown;
    };
    if let Scope::Node(node) = scope
        && pod.facts.node.as_deref() != Some(node)
    {
        return Taken::Foreign;
    }
    let mut entry = pod.workload.and_then(|id| entries.get_mut(&id));
    let read = sender.time(now, told.at);
    let known = pod.series.as_mut();
    let told = match known.filter(|series| series.continues(sender.epoch, told)) {
        Some(series) => series.take(told, now),
        None => {
            // A pod that was not ready yet has served nothing.
            let is_new = pod.series.is_none() && !pod.facts.ready;
            let (series, result) = Series::begin(sender.epoch, told, read, now, is_new);
            if result == Update::Senseless {
                return Taken::Senseless;
            }
            let ended = pod.series.replace(series);
            let workload = entry.as_mut().and_then(|entry| entry.workload.as_mut());
            if let (Some(ended), Some(workload)) = (ended, workload) {
                workload.forget(ended.feed);
            }
            result
        }
    };
    let span = match told {
        Update::Span(span) => span,
        Update::Senseless => return Taken::Senseless,
        Update::Baseline | Update::Old => return Taken::Yes,
    };
    let Some(entry) = entry else {
        return Taken::Unknown;
    };
    let requests = entry.counted_ahead.subtract_from(span.requests);
    let (Some(workload), Some(series)) = (&mut entry.workload, &mut pod.series) else {
        return Taken::Yes;
    };
    match workload.observe(&mut series.feed, read, span.concurrency, requests) {
        Ok(Some(_)) => Taken::Pressing(entry.id),
        Ok(None) => Taken::Yes,
        Err(_) => Taken::Senseless,
    }
}
