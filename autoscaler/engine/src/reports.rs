//! The reports about the requests that each pod has served, and the senders of these reports: a node's agent, another
//! source such as a gateway, or `ebb run`.

use std::{collections::HashMap, time::Duration};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::{Receipt, Report};

use super::{
    names::WorkloadId,
    pod::Pod,
    pods::Pods,
    sender::Sender,
    series::{STALE_AFTER, Series, Update},
    workloads::Workloads,
};

/// The pods that a sender is allowed to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The sender may report pods that run on this node.
    Node(&'a str),
    /// The sender may report all pods of the cluster.
    Cluster,
}

impl Scope<'_> {
    /// Returns whether the sender may report this pod.
    fn includes(self, pod: &Pod) -> bool {
        match self {
            Self::Node(node) => pod.facts.node.as_deref() == Some(node),
            Self::Cluster => true,
        }
    }
}

/// The senders of reports, by name.
#[derive(Debug, Default)]
pub(super) struct Reports {
    senders: HashMap<Box<str>, Sender>,
}

/// Result of processing the counters of one pod in a report.
enum PodResult {
    Taken,
    /// The counters were accepted, and the workload needs a decision at once.
    Urgent(WorkloadId),
    Unknown,
    Foreign,
    Senseless,
}

impl Reports {
    /// Processes a report about the load of pods. Returns the workloads that need a decision at once.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        scope: Scope<'_>,
        sender: &str,
        report: &Report<'_>,
        pods: &mut Pods,
        workloads: &mut Workloads,
    ) -> (Receipt, Vec<WorkloadId>) {
        let (mut receipt, mut urgent) = (Receipt::default(), Vec::new());
        for rejected in &report.rejected {
            let pod = pods.find_mut(&rejected.uid);
            if let Some(pod) = pod.filter(|pod| scope.includes(pod)) {
                pod.not_counted = Some(rejected.why.as_ref().into());
            }
        }
        let Some(newest) = report.pods.iter().map(|pod| pod.at).max() else {
            return (receipt, urgent);
        };
        let sender = match self.senders.get_mut(sender) {
            Some(known) => {
                known.take_in(&report.boot, now, newest);
                known
            }
            None => {
                let new = self.senders.entry(sender.into());
                new.or_insert(Sender::new(&report.boot, now, newest))
            }
        };
        for reported in &report.pods {
            let counted = match take_pod(now, scope, sender, reported, pods, workloads) {
                PodResult::Urgent(id) => {
                    urgent.push(id);
                    &mut receipt.taken
                }
                PodResult::Taken => &mut receipt.taken,
                PodResult::Unknown => &mut receipt.unknown,
                PodResult::Foreign => &mut receipt.foreign,
                PodResult::Senseless => &mut receipt.senseless,
            };
            *counted += 1;
        }
        (receipt, urgent)
    }

    /// Removes senders that have not reported for `after`, such as the agents of deleted nodes.
    pub(super) fn sweep(&mut self, now: Timestamp, after: Duration) {
        self.senders
            .retain(|_, sender| now.since(sender.last_report) < after);
    }

    /// Returns three values: the number of all senders, the number of senders without a current report, and the longest
    /// delay of the last report over the senders with a current report.
    pub(super) fn count(&self, now: Timestamp) -> (usize, usize, Duration) {
        let is_stale = |sender: &&Sender| now.since(sender.last_report) > STALE_AFTER;
        let (stale, current): (Vec<_>, Vec<_>) = self.senders.values().partition(is_stale);
        let lag = current.iter().map(|sender| sender.lag).max();
        (self.senders.len(), stale.len(), lag.unwrap_or_default())
    }
}

/// Processes the counters of one pod.
fn take_pod(
    now: Timestamp,
    scope: Scope<'_>,
    sender: &Sender,
    reported: &ebb_contract::Pod<'_>,
    pods: &mut Pods,
    workloads: &mut Workloads,
) -> PodResult {
    let Some(pod) = pods.find_mut(&reported.uid) else {
        return PodResult::Unknown;
    };
    if !scope.includes(pod) {
        return PodResult::Foreign;
    }
    let mut entry = pod.workload.and_then(|id| workloads.get_mut(id));
    if let Some(entry) = &mut entry {
        let choice = reported.counted_at.as_ref();
        pod.counted_at = entry.choices.shared(choice, pod.counted_at.take());
        pod.not_counted = None;
    }
    let read = sender.time(now, reported.at);
    let known = pod.series.as_mut();
    let update = match known.filter(|series| series.continues(sender.epoch, reported)) {
        Some(series) => series.take(reported, now),
        None => {
            // A pod that has never been ready has served no request.
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
        Ok(Some(_)) => PodResult::Urgent(entry.id),
        Ok(None) => PodResult::Taken,
        Err(_) => PodResult::Senseless,
    }
}
