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

mod counted;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ebb_agent::{CounterError, Reading};
use tokio::time::Instant;
use tracing::{info, warn};

use self::counted::Counted;
use super::{
    kubelet::Kubelet,
    meter::Meter,
    pod::{OptIn, Pod, PodSpec},
};

/// How long the last reading of a deleted pod is reported: for the time of three reports, so that a replica of the
/// autoscaler that misses one report receives another.
const LINGERS: Duration = Duration::from_secs(3);

/// Interval at which the Event about a pod that cannot be counted is written again. The API server deletes Events after
/// an hour by default.
const TELL_AGAIN: Duration = Duration::from_secs(30 * 60);

/// The pods of the node and their counters.
#[derive(Debug)]
pub(super) struct Counting<M: Meter> {
    kubelet: Kubelet,
    meter: Option<M>,
    pods: BTreeMap<String, Entry<M::Pod>>,
    gone: Vec<Gone>,
    /// Uids of the pods that were received in the current list of all pods. `None` if no list is in progress.
    listed: Option<BTreeSet<String>>,
    synced: bool,
    /// Number of failed readings since the agent started.
    pub(super) missed: u64,
}

#[derive(Debug)]
struct Entry<P> {
    wanted: PodSpec,
    state: State<P>,
}

#[derive(Debug)]
enum State<P> {
    /// The pod has no cgroup yet, or the counter is not loaded.
    Waiting,
    /// The pod opted in but cannot be counted.
    Refused {
        why: String,
        /// Time of the last Event about this pod.
        told: Option<Instant>,
    },
    /// The pod is counted.
    Counted(Box<Counted<P>>),
}

impl<P> State<P> {
    /// Returns the state of a refused pod, and logs the reason.
    fn refuse(wanted: &PodSpec, why: String) -> Self {
        warn!(uid = wanted.uid, pod = %Named(wanted), why, "cannot be counted");
        Self::Refused { why, told: None }
    }
}

#[derive(Debug)]
struct Gone {
    figures: Figures,
    until: Instant,
}

/// One pod's last reading, with the pod's specification and the start of its counting.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) wanted: PodSpec,
    /// Start of the counting, `CLOCK_MONOTONIC`.
    pub(super) since: Duration,
    pub(super) reading: Reading,
}

/// The number of pods in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PodCounts {
    pub(super) counted: usize,
    pub(super) waiting: usize,
    pub(super) refused: usize,
}

impl<M: Meter> Counting<M> {
    pub(super) fn new(kubelet: Kubelet) -> Self {
        Self {
            kubelet,
            meter: None,
            pods: BTreeMap::new(),
            gone: Vec::new(),
            listed: None,
            synced: false,
            missed: 0,
        }
    }

    /// Sets the counter, and begins to count the waiting pods.
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
        let gone: Vec<_> = self
            .pods
            .keys()
            .filter(|uid| !listed.contains(*uid))
            .cloned()
            .collect();
        for uid in gone {
            self.remove(&uid, now);
        }
        self.synced = true;
        self.settle();
    }

    /// Records a new or changed pod.
    pub(super) fn apply(&mut self, pod: &Pod, now: Instant) {
        if let Some(listed) = &mut self.listed {
            listed.insert(pod.uid().to_owned());
        }
        let (wanted, refused) = match pod.asked() {
            OptIn::Nothing => return self.remove(pod.uid(), now),
            OptIn::Count(wanted) => (wanted, None),
            OptIn::Wrong(wanted, why) => (wanted, Some(why)),
        };
        let uid = wanted.uid.clone();
        if let Some(why) = refused {
            return self.refuse(wanted, why, now);
        }
        match self.pods.get_mut(&uid) {
            Some(entry) if entry.wanted == wanted => return,
            Some(entry) => {
                entry.wanted = wanted;
                if let (State::Counted(counted), Some(meter)) = (&entry.state, &mut self.meter)
                    && let Err(error) = counted.obey(meter, &entry.wanted.rules)
                {
                    meter.detach(counted.pod);
                    entry.state = State::refuse(&entry.wanted, error.to_string());
                } else if let State::Refused { .. } = entry.state {
                    entry.state = State::Waiting;
                }
            }
            None => {
                let state = State::Waiting;
                self.pods.insert(uid.clone(), Entry { wanted, state });
            }
        }
        self.try_one(&uid);
    }

    /// Records a pod that opted in but cannot be counted.
    fn refuse(&mut self, wanted: PodSpec, why: String, now: Instant) {
        let known = self.pods.get(&wanted.uid);
        // The refusal is logged once, not at each unrelated change of the pod.
        if known.is_some_and(
            |entry| matches!(&entry.state, State::Refused { why: known, .. } if *known == why),
        ) {
            return;
        }
        self.remove(&wanted.uid, now);
        let state = State::refuse(&wanted, why);
        self.pods
            .insert(wanted.uid.clone(), Entry { wanted, state });
    }

    /// Removes a pod that is deleted or no longer opted in.
    pub(super) fn remove(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.pods.remove(uid) else {
            return;
        };
        if let State::Counted(counted) = entry.state {
            self.take_leave(entry.wanted, *counted, now);
        }
    }

    /// Tries again to find the cgroups of waiting pods. Returns whether at least one cgroup was found.
    pub(super) fn try_waiting(&mut self) -> bool {
        let waiting: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Waiting))
            .map(|(uid, _)| uid.clone())
            .collect();
        let before = waiting.len();
        for uid in waiting {
            self.try_one(&uid);
        }
        self.settle();
        self.tally().waiting < before
    }

    /// Reads all counted pods. A pod whose cgroup is deleted becomes a waiting pod.
    pub(super) fn read(&mut self, now: Instant) {
        self.gone.retain(|gone| gone.until > now);
        let Some(meter) = &self.meter else { return };
        let mut lost = Vec::new();
        for (uid, entry) in &mut self.pods {
            let State::Counted(counted) = &mut entry.state else {
                continue;
            };
            match meter.read(counted.pod) {
                Ok(reading) => {
                    counted.keep(meter, reading, &entry.wanted);
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
                // The pod becomes a waiting pod, because kubelet may create a new cgroup for it.
                let state = std::mem::replace(&mut entry.state, State::Waiting);
                let wanted = entry.wanted.clone();
                if let State::Counted(counted) = state {
                    self.take_leave(wanted, *counted, now);
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
            State::Counted(counted) => counted.bursts(meter),
            _ => false,
        })
    }

    /// Sets the kernel's burst thresholds again. This is needed after a wake-up without a burst, because each threshold
    /// wakes the agent only once.
    pub(super) fn arm(&self) {
        let Some(meter) = &self.meter else { return };
        for entry in self.pods.values() {
            if let State::Counted(counted) = &entry.state {
                counted.arm(meter);
            }
        }
    }

    /// Returns the last readings of all counted pods and of recently deleted pods.
    pub(super) fn figures(&self) -> impl Iterator<Item = Figures> + '_ {
        let living = self.pods.values().filter_map(|entry| match &entry.state {
            State::Counted(counted) => Some(Figures {
                wanted: entry.wanted.clone(),
                since: counted.since,
                reading: counted.last.clone()?,
            }),
            _ => None,
        });
        // The last reading of a deleted cgroup is excluded if its pod is counted again, so each pod appears once.
        let gone = self.gone.iter().filter(|gone| {
            self.pods
                .get(&gone.figures.wanted.uid)
                .is_none_or(|entry| !matches!(entry.state, State::Counted(_)))
        });
        living.chain(gone.map(|gone| gone.figures.clone()))
    }

    /// Returns the refused pods for which an Event is due, and the reason for each refusal. An Event is due if none was
    /// written for [`TELL_AGAIN`].
    pub(super) fn refusals(&mut self, now: Instant) -> Vec<(PodSpec, String)> {
        let mut refused = Vec::new();
        for entry in self.pods.values_mut() {
            if let State::Refused { why, told } = &mut entry.state
                && told.is_none_or(|told| now.duration_since(told) >= TELL_AGAIN)
            {
                *told = Some(now);
                refused.push((entry.wanted.clone(), why.clone()));
            }
        }
        refused
    }

    pub(super) fn tally(&self) -> PodCounts {
        let mut tally = PodCounts::default();
        for entry in self.pods.values() {
            match entry.state {
                State::Waiting => tally.waiting += 1,
                State::Refused { .. } => tally.refused += 1,
                State::Counted(_) => tally.counted += 1,
            }
        }
        tally
    }

    /// Reads the counters of a pod for the last time, and stops counting the pod.
    fn take_leave(&mut self, wanted: PodSpec, counted: Counted<M::Pod>, now: Instant) {
        let Some(meter) = &mut self.meter else { return };
        let last = meter.read(counted.pod).ok().or(counted.last);
        meter.detach(counted.pod);
        info!(uid = wanted.uid, pod = %Named(&wanted), "no longer counted");
        if let Some(reading) = last {
            self.gone.push(Gone {
                figures: Figures {
                    wanted,
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
        if !matches!(entry.state, State::Waiting) {
            return;
        }
        let Some(path) = self.kubelet.find(uid, entry.wanted.qos) else {
            return;
        };
        match Counted::begin(meter, path, &entry.wanted) {
            Ok(counted) => {
                let cgroup = counted.path.display();
                info!(uid, pod = %Named(&entry.wanted), %cgroup, "counted");
                entry.state = State::Counted(Box::new(counted));
            }
            // The cgroup was deleted after it was found, so the pod remains a waiting pod.
            Err(CounterError::Cgroup(_)) => {}
            Err(error) => {
                entry.state = State::refuse(&entry.wanted, error.to_string());
            }
        }
    }

    /// Stops the counting of cgroups that an earlier agent attached and no pod has adopted.
    fn settle(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        if !self.synced {
            return;
        }
        let claimed: BTreeSet<_> = self
            .pods
            .values()
            .filter_map(|entry| match &entry.state {
                State::Counted(counted) => Some(counted.pod),
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

/// Formats a pod as `namespace/name`, for the log.
struct Named<'a>(&'a PodSpec);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.namespace, self.0.name)
    }
}

#[cfg(test)]
mod tests;
