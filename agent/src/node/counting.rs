//! The pods of this node that are counted or will be counted.
//!
//! This module matches two sources: the opted-in pods from the API server, and the existing cgroups. Pods and cgroups
//! change at different times:
//!
//! - A pod is bound to the node before kubelet has created its cgroup. The pod is waiting until the cgroup exists.
//! - A pod's cgroup is deleted before the API server reports the pod as deleted. The pod's last reading is kept and
//!   reported for a few seconds more.
//! - An earlier agent may have left cgroups that are counted. An opted-in pod adopts the counting of its own cgroup.
//!   The counting of other cgroups is stopped after the first complete list of pods.
//!
//! Failure mode: if the counters of a pod cannot be read, the next report does not contain the pod. The pod is not
//! reported with zero requests.

mod counted_pod;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ebb_agent::{CounterError, Reading};
use tokio::time::Instant;
use tracing::{info, warn};

use self::counted_pod::CountedPod;
use super::{
    kubelet::Kubelet,
    meter::Meter,
    pod::{OptIn, Pod, PodSpec},
};

/// How long the last reading of a deleted pod is reported: for the time of three reports, so that a replica of the
/// autoscaler that misses one report receives another.
const LINGERS: Duration = Duration::from_secs(3);

/// Interval at which an Event about a pod is written again, while its cause lasts. The API server deletes Events after
/// an hour by default.
const EVENT_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// The pods of the node and their counters.
#[derive(Debug)]
pub(super) struct Counting<M: Meter> {
    kubelet: Kubelet,
    meter: Option<M>,
    pods: BTreeMap<String, PodEntry<M::Pod>>,
    deleted: Vec<DeletedPod>,
    /// Uids of the pods that were received in the current list of all pods. `None` if no list is in progress.
    listed: Option<BTreeSet<String>>,
    synced: bool,
    /// Number of failed readings since the agent started.
    pub(super) missed: u64,
}

#[derive(Debug)]
struct PodEntry<P> {
    spec: PodSpec,
    state: CountingState<P>,
    /// Time of the last Event about this pod, while its cause lasts.
    last_event: Option<Instant>,
}

#[derive(Debug)]
enum CountingState<P> {
    /// The pod has no cgroup yet, or the counter is not loaded.
    Waiting,
    /// The pod opted in but cannot be counted.
    Rejected { why: String },
    /// The pod is counted.
    Counted(Box<CountedPod<P>>),
}

impl<P> CountingState<P> {
    /// Returns the state of a rejected pod, and logs the reason.
    fn reject(spec: &PodSpec, why: String) -> Self {
        warn!(uid = spec.uid, pod = %PodName(spec), why, "cannot be counted");
        Self::Rejected { why }
    }
}

impl<P> PodEntry<P> {
    fn new(spec: PodSpec, state: CountingState<P>) -> Self {
        Self {
            spec,
            state,
            last_event: None,
        }
    }

    /// Returns whether an Event about the pod is due, because none was written for [`EVENT_INTERVAL`]. If so, records
    /// the Event as written.
    fn is_event_due(&mut self, now: Instant) -> bool {
        let is_due = self
            .last_event
            .is_none_or(|last| now.duration_since(last) >= EVENT_INTERVAL);
        if is_due {
            self.last_event = Some(now);
        }
        is_due
    }
}

#[derive(Debug)]
struct DeletedPod {
    reading: PodReading,
    until: Instant,
}

/// One pod's last reading, with the pod's specification and the start of its counting.
#[derive(Clone, Debug)]
pub(super) struct PodReading {
    pub(super) spec: PodSpec,
    /// Start of the counting, `CLOCK_MONOTONIC`.
    pub(super) since: Duration,
    pub(super) reading: Reading,
}

/// The number of pods in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PodCounts {
    pub(super) counted: usize,
    pub(super) waiting: usize,
    pub(super) rejected: usize,
}

impl<M: Meter> Counting<M> {
    pub(super) fn new(kubelet: Kubelet) -> Self {
        Self {
            kubelet,
            meter: None,
            pods: BTreeMap::new(),
            deleted: Vec::new(),
            listed: None,
            synced: false,
            missed: 0,
        }
    }

    /// Sets the counter of requests, and begins to count the pods that have waited for it.
    pub(super) fn set_meter(&mut self, meter: M) {
        self.meter = Some(meter);
        self.try_waiting();
    }

    pub(super) fn meter(&self) -> Option<&M> {
        self.meter.as_ref()
    }

    pub(super) fn meter_mut(&mut self) -> Option<&mut M> {
        self.meter.as_mut()
    }

    /// Returns whether the API server has listed all pods of the node at least once.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Records that a list of all pods begins.
    pub(super) fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// Records that the list of all pods is complete. Pods that are not in the list are removed.
    pub(super) fn list_ends(&mut self, now: Instant) {
        let listed = self.listed.take().unwrap_or_default();
        let deleted: Vec<_> = self
            .pods
            .keys()
            .filter(|uid| !listed.contains(*uid))
            .cloned()
            .collect();
        for uid in deleted {
            self.remove(&uid, now);
        }
        self.synced = true;
        self.detach_unclaimed();
    }

    /// Records a new or changed pod.
    pub(super) fn apply(&mut self, pod: &Pod, now: Instant) {
        if let Some(listed) = &mut self.listed {
            listed.insert(pod.uid().to_owned());
        }
        let (spec, rejected) = match pod.opt_in() {
            OptIn::Nothing => return self.remove(pod.uid(), now),
            OptIn::Count(spec) => (spec, None),
            OptIn::Rejected(spec, why) => (spec, Some(why)),
        };
        let uid = spec.uid.clone();
        if let Some(why) = rejected {
            return self.reject(spec, why, now);
        }
        match self.pods.get_mut(&uid) {
            Some(entry) if entry.spec == spec => return,
            Some(entry) => {
                if entry.spec.counted_at != spec.counted_at {
                    entry.last_event = None;
                    if let CountingState::Counted(_) = entry.state {
                        log_choice(&spec);
                    }
                }
                entry.spec = spec;
                if let (CountingState::Counted(counted), Some(meter)) =
                    (&entry.state, &mut self.meter)
                    && let Err(error) = counted.apply_rules(meter, &entry.spec.rules)
                {
                    meter.detach(counted.pod);
                    entry.state = CountingState::reject(&entry.spec, error.to_string());
                    entry.last_event = None;
                } else if let CountingState::Rejected { .. } = entry.state {
                    entry.state = CountingState::Waiting;
                }
            }
            None => {
                let state = CountingState::Waiting;
                self.pods.insert(uid.clone(), PodEntry::new(spec, state));
            }
        }
        self.try_one(&uid);
    }

    /// Records a pod that opted in but cannot be counted.
    fn reject(&mut self, spec: PodSpec, why: String, now: Instant) {
        let known = self.pods.get(&spec.uid);
        // The rejection is logged once, not at each unrelated change of the pod.
        if known.is_some_and(
            |entry| matches!(&entry.state, CountingState::Rejected { why: known, .. } if *known == why),
        ) {
            return;
        }
        self.remove(&spec.uid, now);
        let state = CountingState::reject(&spec, why);
        self.pods
            .insert(spec.uid.clone(), PodEntry::new(spec, state));
    }

    /// Removes a pod that is deleted or no longer opted in.
    pub(super) fn remove(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.pods.remove(uid) else {
            return;
        };
        if let CountingState::Counted(counted) = entry.state {
            self.stop_counting(entry.spec, *counted, now);
        }
    }

    /// Tries again to find the cgroups of the pods that wait for one. Returns whether at least one cgroup was found.
    pub(super) fn try_waiting(&mut self) -> bool {
        let waiting: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, entry)| matches!(entry.state, CountingState::Waiting))
            .map(|(uid, _)| uid.clone())
            .collect();
        let before = waiting.len();
        for uid in waiting {
            self.try_one(&uid);
        }
        self.detach_unclaimed();
        self.pod_counts().waiting < before
    }

    /// Reads the counters of all counted pods. A pod whose cgroup is deleted is no longer counted, and waits for a new
    /// cgroup.
    pub(super) fn read(&mut self, now: Instant) {
        self.deleted.retain(|deleted| deleted.until > now);
        let Some(meter) = &self.meter else { return };
        let mut lost = Vec::new();
        for (uid, entry) in &mut self.pods {
            let CountingState::Counted(counted) = &mut entry.state else {
                continue;
            };
            match meter.read(counted.pod) {
                Ok(reading) => {
                    counted.record(meter, reading, &entry.spec);
                }
                Err(error) => {
                    self.missed += 1;
                    counted.last = None;
                    warn!(uid, %error, "the counters of a pod cannot be read");
                }
            }
            // The cgroup is checked after the reading, so that the reading includes the pod's last requests.
            if !meter.is_still(&counted.path, counted.cgroup) {
                lost.push(uid.clone());
            }
        }
        for uid in lost {
            if let Some(entry) = self.pods.get_mut(&uid) {
                // The pod waits again, because kubelet may create a new cgroup for it.
                let state = std::mem::replace(&mut entry.state, CountingState::Waiting);
                let spec = entry.spec.clone();
                if let CountingState::Counted(counted) = state {
                    self.stop_counting(spec, *counted, now);
                }
            }
        }
    }

    /// Returns whether a burst has begun since the last reading: the requests in flight at a pod have reached its
    /// target, and are at least twice as many as at the last reading. The check needs no system call.
    pub(super) fn bursts(&self) -> bool {
        let Some(meter) = &self.meter else {
            return false;
        };
        self.pods.values().any(|entry| match &entry.state {
            CountingState::Counted(counted) => counted.bursts(meter),
            _ => false,
        })
    }

    /// Sets the kernel's burst thresholds again. This is needed after a wake-up without a burst, because each threshold
    /// wakes the agent only once.
    pub(super) fn arm(&self) {
        let Some(meter) = &self.meter else { return };
        for entry in self.pods.values() {
            if let CountingState::Counted(counted) = &entry.state {
                counted.arm(meter);
            }
        }
    }

    /// Returns the last readings of all counted pods and of recently deleted pods.
    pub(super) fn readings(&self) -> impl Iterator<Item = PodReading> + '_ {
        let living = self.pods.values().filter_map(|entry| match &entry.state {
            CountingState::Counted(counted) => Some(PodReading {
                spec: entry.spec.clone(),
                since: counted.since,
                reading: counted.last.clone()?,
            }),
            _ => None,
        });
        // If the pod of a deleted cgroup is counted again with a new cgroup, the last reading of the deleted cgroup is
        // excluded. So each pod appears once.
        let deleted = self.deleted.iter().filter(|deleted| {
            self.pods
                .get(&deleted.reading.spec.uid)
                .is_none_or(|entry| !matches!(entry.state, CountingState::Counted(_)))
        });
        living.chain(deleted.map(|deleted| deleted.reading.clone()))
    }

    /// Returns the rejected pods for which an Event is due, and the reason for each rejection.
    pub(super) fn rejections(&mut self, now: Instant) -> Vec<(PodSpec, String)> {
        let mut rejected = Vec::new();
        for entry in self.pods.values_mut() {
            if let CountingState::Rejected { why } = &entry.state {
                let why = why.clone();
                if entry.is_event_due(now) {
                    rejected.push((entry.spec.clone(), why));
                }
            }
        }
        rejected
    }

    /// Returns the counted pods for which an Event with advice is due, and the advice for each.
    pub(super) fn advised(&mut self, now: Instant) -> Vec<(PodSpec, String)> {
        let mut advised = Vec::new();
        for entry in self.pods.values_mut() {
            if let CountingState::Counted(_) = &entry.state
                && let Some(advice) = entry.spec.counted_at.advice()
                && entry.is_event_due(now)
            {
                advised.push((entry.spec.clone(), advice));
            }
        }
        advised
    }

    /// Returns the uids of the rejected pods, and the reason for each rejection.
    pub(super) fn rejected(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pods
            .iter()
            .filter_map(|(uid, entry)| match &entry.state {
                CountingState::Rejected { why } => Some((uid.as_str(), why.as_str())),
                _ => None,
            })
    }

    pub(super) fn pod_counts(&self) -> PodCounts {
        let mut counts = PodCounts::default();
        for entry in self.pods.values() {
            match entry.state {
                CountingState::Waiting => counts.waiting += 1,
                CountingState::Rejected { .. } => counts.rejected += 1,
                CountingState::Counted(_) => counts.counted += 1,
            }
        }
        counts
    }

    /// Reads the counters of a pod for the last time, and stops counting the pod.
    fn stop_counting(&mut self, spec: PodSpec, counted: CountedPod<M::Pod>, now: Instant) {
        let Some(meter) = &mut self.meter else { return };
        let last = meter.read(counted.pod).ok().or(counted.last);
        meter.detach(counted.pod);
        info!(uid = spec.uid, pod = %PodName(&spec), "no longer counted");
        if let Some(reading) = last {
            self.deleted.push(DeletedPod {
                reading: PodReading {
                    spec,
                    since: counted.since,
                    reading,
                },
                until: now + LINGERS,
            });
        }
    }

    fn try_one(&mut self, uid: &str) {
        let (Some(entry), Some(meter)) = (self.pods.get_mut(uid), &mut self.meter) else {
            return;
        };
        if !matches!(entry.state, CountingState::Waiting) {
            return;
        }
        let Some(path) = self.kubelet.find(uid, entry.spec.qos) else {
            return;
        };
        match CountedPod::begin(meter, path, &entry.spec) {
            Ok(counted) => {
                let cgroup = counted.path.display();
                info!(uid, pod = %PodName(&entry.spec), %cgroup, "counted");
                log_choice(&entry.spec);
                entry.state = CountingState::Counted(Box::new(counted));
            }
            // The cgroup was deleted after it was found, so the pod continues to wait for a cgroup.
            Err(CounterError::Cgroup(_)) => {}
            Err(error) => {
                entry.state = CountingState::reject(&entry.spec, error.to_string());
                entry.last_event = None;
            }
        }
    }

    /// Stops the counting of cgroups that an earlier agent attached and no pod has adopted.
    fn detach_unclaimed(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        if !self.synced {
            return;
        }
        let claimed: BTreeSet<_> = self
            .pods
            .values()
            .filter_map(|entry| match &entry.state {
                CountingState::Counted(counted) => Some(counted.pod),
                _ => None,
            })
            .collect();
        for pod in meter.pods() {
            if !claimed.contains(&pod) {
                info!(
                    ?pod,
                    "counting is stopped: an earlier agent began to count this cgroup, and no counted pod has the cgroup"
                );
                meter.detach(pod);
            }
        }
    }
}

/// Logs the hop at which a pod is counted, and what to do about it.
fn log_choice(spec: &PodSpec) {
    let (uid, pod, counted_at) = (&spec.uid, PodName(spec), &spec.counted_at);
    match counted_at.advice() {
        Some(advice) => warn!(uid, %pod, advice, "{counted_at}"),
        None => info!(uid, %pod, "{counted_at}"),
    }
}

/// Formats a pod as `namespace/name`, for the log.
struct PodName<'a>(&'a PodSpec);

impl std::fmt::Display for PodName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.namespace, self.0.name)
    }
}

#[cfg(test)]
mod tests;
