//! The pods of this node that are counted, or are to be.
//!
//! Two things come together here: what the API server says is wanted, and what cgroups there are. A pod is
//! bound before kubelet has made its cgroup, so it waits; its cgroup goes before the API server says that the pod is
//! gone, so its last figures are taken at each round and shown a while longer. What an earlier agent has
//! left counting is taken over when a wanted pod has that cgroup, and let go once the list of wanted pods is whole.
//!
//! Failure mode: a pod whose figures cannot be read is missing from a round; missing is not zero.

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
    pod::{Asked, Pod, Wanted},
};

/// How long the last figures of a pod that is gone are repeated: three reports, so that a replica that was slow for
/// one of them gets them too.
const LINGERS: Duration = Duration::from_secs(3);

/// How often it is told that a pod cannot be counted: Events are forgotten after an hour, by default.
const TELL_AGAIN: Duration = Duration::from_secs(30 * 60);

/// The pods.
#[derive(Debug)]
pub(super) struct Counting<M: Meter> {
    kubelet: Kubelet,
    meter: Option<M>,
    pods: BTreeMap<String, Entry<M::Pod>>,
    gone: Vec<Gone>,
    /// Uids seen in a list that is not whole yet.
    listed: Option<BTreeSet<String>>,
    synced: bool,
    /// Readings that could not be had, so far.
    pub(super) missed: u64,
}

#[derive(Debug)]
struct Entry<P> {
    wanted: Wanted,
    state: State<P>,
}

#[derive(Debug)]
enum State<P> {
    /// Has no cgroup yet, or there is no counter.
    Waiting,
    /// Cannot be counted as it asks.
    Refused {
        why: String,
        /// When that was last told.
        told: Option<Instant>,
    },
    /// Is counted.
    Counted(Box<Counted<P>>),
}

impl<P> State<P> {
    /// Refuses a pod, and says so in the log.
    fn refuse(wanted: &Wanted, why: String) -> Self {
        warn!(uid = wanted.uid, pod = %Named(wanted), why, "cannot be counted");
        Self::Refused { why, told: None }
    }
}

#[derive(Debug)]
struct Gone {
    figures: Figures,
    until: Instant,
}

/// One pod's figures.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) wanted: Wanted,
    /// When its counting began: `CLOCK_MONOTONIC`.
    pub(super) since: Duration,
    pub(super) reading: Reading,
}

/// How many pods are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
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

    /// Begins to count with this counter.
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

    /// Whether the API server has told all pods of the node at least once.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// A list of all pods begins.
    pub(super) fn list_begins(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// The list is whole: what is not in it is gone.
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

    /// A pod is there, or has changed.
    pub(super) fn apply(&mut self, pod: &Pod, now: Instant) {
        if let Some(listed) = &mut self.listed {
            listed.insert(pod.uid().to_owned());
        }
        let (wanted, refused) = match pod.asked() {
            Asked::Nothing => return self.remove(pod.uid(), now),
            Asked::Count(wanted) => (wanted, None),
            Asked::Wrong(wanted, why) => (wanted, Some(why)),
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

    /// A pod wants to be counted in a way that cannot be followed.
    fn refuse(&mut self, wanted: Wanted, why: String, now: Instant) {
        let known = self.pods.get(&wanted.uid);
        // Said once, not each time something else about the pod changes.
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

    /// A pod is gone, or no longer wants to be counted.
    pub(super) fn remove(&mut self, uid: &str, now: Instant) {
        let Some(entry) = self.pods.remove(uid) else {
            return;
        };
        if let State::Counted(counted) = entry.state {
            self.take_leave(entry.wanted, *counted, now);
        }
    }

    /// Tries again to find the cgroups of the pods that wait. Whether one was found.
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

    /// Reads all pods, and takes leave of those whose cgroup is gone.
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
                    warn!(uid, %error, "a pod's figures cannot be read");
                }
            }
            // After the reading: what the pod did last is in it.
            if !meter.is_still(&counted.path, counted.cgroup) {
                lost.push(uid.clone());
            }
        }
        for uid in lost {
            if let Some(entry) = self.pods.get_mut(&uid) {
                // It may get another one, with the same name.
                let state = std::mem::replace(&mut entry.state, State::Waiting);
                let wanted = entry.wanted.clone();
                if let State::Counted(counted) = state {
                    self.take_leave(wanted, *counted, now);
                }
            }
        }
    }

    /// Whether a burst has begun since the last reading: a pod has more in flight than it is meant to carry, and
    /// twice what it had. Costs no system call.
    pub(super) fn bursts(&self) -> bool {
        let Some(meter) = &self.meter else {
            return false;
        };
        self.pods.values().any(|entry| match &entry.state {
            State::Counted(counted) => counted.bursts(meter),
            _ => false,
        })
    }

    /// Has the kernel wake the agent again: it has, and there was no burst.
    pub(super) fn arm(&self) {
        let Some(meter) = &self.meter else { return };
        for entry in self.pods.values() {
            if let State::Counted(counted) = &entry.state {
                counted.arm(meter);
            }
        }
    }

    /// The figures of the last reading, those of pods that are just gone included.
    pub(super) fn figures(&self) -> impl Iterator<Item = Figures> + '_ {
        let living = self.pods.values().filter_map(|entry| match &entry.state {
            State::Counted(counted) => Some(Figures {
                wanted: entry.wanted.clone(),
                since: counted.since,
                reading: counted.last.clone()?,
            }),
            _ => None,
        });
        // A pod that was counted anew has one entry, its newest.
        let gone = self.gone.iter().filter(|gone| {
            self.pods
                .get(&gone.figures.wanted.uid)
                .is_none_or(|entry| !matches!(entry.state, State::Counted(_)))
        });
        living.chain(gone.map(|gone| gone.figures.clone()))
    }

    /// The pods that cannot be counted, and why: those of which nobody has been told, or long ago.
    pub(super) fn refusals(&mut self, now: Instant) -> Vec<(Wanted, String)> {
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

    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for entry in self.pods.values() {
            match entry.state {
                State::Waiting => tally.waiting += 1,
                State::Refused { .. } => tally.refused += 1,
                State::Counted(_) => tally.counted += 1,
            }
        }
        tally
    }

    /// Takes the last figures of a pod and lets its counter go.
    fn take_leave(&mut self, wanted: Wanted, counted: Counted<M::Pod>, now: Instant) {
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
            // Gone again in this moment.
            Err(CounterError::Cgroup(_)) => {}
            Err(error) => {
                entry.state = State::refuse(&entry.wanted, error.to_string());
            }
        }
    }

    /// Lets go what an earlier agent has left and nobody wants; what waits for its cgroup may want it yet.
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
                    "no longer opted in: counting that an earlier agent began is stopped"
                );
                meter.detach(pod);
            }
        }
    }
}

/// `namespace/name`, for the log.
struct Named<'a>(&'a Wanted);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.0.namespace, self.0.name)
    }
}

#[cfg(test)]
mod tests;
