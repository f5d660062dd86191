//! The kernel counter: one set of programs, attached to any number of cgroups.
//!
//! Without pins the counter lives as long as its process: when the process ends, however it ends, the kernel detaches
//! the programs. With [`Pins`] the counting continues, and the next process adopts it; see [`Counter::pinned`].

mod adopt;
mod kernel_messages;
mod slots;

use std::{collections::BTreeMap, fs::File, os::fd::AsFd as _, path::Path, time::Duration};

use aya::{maps::Map, programs::ProgramError};

use crate::{
    CounterError, Reading, Rules, cgroup,
    kernel::{ATTACHED, Kernel, Link, program_error},
    mapped_counters::MappedCounters,
    pins::Pins,
};

use self::kernel_messages::KernelLog;
pub use self::{
    adopt::Adoption,
    kernel_messages::{Events, WakeUps},
};

/// A counted cgroup, identified by its slot in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodId(u32);

/// The state of a counted cgroup.
#[derive(Debug)]
struct AttachedCgroup {
    /// The inode of the cgroup.
    cgroup: u64,
    rules: Rules,
    since: Duration,
    /// Links of the programs. Dropping the links detaches the programs, unless the links are pinned.
    _links: Vec<Link>,
}

/// The loaded programs and their maps.
#[derive(Debug)]
pub struct Counter {
    kernel: Kernel,
    log: KernelLog,
    counters: MappedCounters,
    pods: BTreeMap<PodId, AttachedCgroup>,
    /// The slot that was assigned most recently.
    last: u32,
    pins: Option<Pins>,
}

impl Counter {
    /// Loads the programs for the lifetime of this process. Requires Linux 5.10, and root or `CAP_BPF` and
    /// `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// The process lacks the permissions, or the kernel refuses the programs.
    pub fn load() -> Result<Self, CounterError> {
        Self::new(Kernel::load()?, None)
    }

    fn new(mut kernel: Kernel, pins: Option<Pins>) -> Result<Self, CounterError> {
        let Map::Array(pods) = kernel.raw_map("PODS")? else {
            return Err(CounterError::Incomplete("array PODS"));
        };
        let counters = MappedCounters::new(pods)?;
        let log = KernelLog::of(&mut kernel)?;
        Ok(Self {
            kernel,
            log,
            counters,
            pods: BTreeMap::new(),
            last: 0,
            pins,
        })
    }

    /// Begins to count the requests of a cgroup and its descendants. On connections that are already open, requests are
    /// counted from the next request on.
    ///
    /// # Errors
    /// The path is not a cgroup or is already counted, the rules are invalid, or the kernel rejects an operation.
    pub fn attach(&mut self, path: &Path, rules: &Rules) -> Result<PodId, CounterError> {
        let cgroup = cgroup::id(path)?;
        if let Some(pod) = self.find(cgroup) {
            return Err(CounterError::Twice(path.to_owned(), pod.0));
        }
        let pod = self.free_slot()?;
        let attached = self.attach_at(pod, cgroup, path, rules);
        if attached.is_err() {
            self.clear(pod, Some(cgroup), rules);
        }
        self.last = pod.0;
        self.pods.insert(pod, attached?);
        Ok(pod)
    }

    fn attach_at(
        &mut self,
        pod: PodId,
        cgroup: u64,
        path: &Path,
        rules: &Rules,
    ) -> Result<AttachedCgroup, CounterError> {
        self.zero(pod)?;
        let since = now()?;
        // A killed process may have left counting rules in this pod slot. These rules are replaced.
        let left = self.read_rules(pod)?;
        self.write_rules(pod, rules, &left)?;
        let directory = File::open(path).map_err(|source| cgroup::CgroupError::Missing {
            path: path.to_owned(),
            source,
        })?;
        let mut links = Vec::with_capacity(ATTACHED.len());
        for (name, hook) in ATTACHED {
            let program = self.kernel.program(name)?.as_fd();
            let link = Link::attach(program, directory.as_fd(), hook)
                .map_err(|error| program_error(name, ProgramError::IOError(error)))?;
            links.push(link);
        }
        if let Some(pins) = &self.pins {
            pins.pin_slot(pod.0, since, &links)?;
        }
        // The pod slot is assigned to the cgroup last, because connections are counted from the assignment on. If the
        // process is killed before the assignment, the next process assigns the slot.
        self.assign_slot(cgroup, pod)?;
        Ok(AttachedCgroup {
            cgroup,
            rules: rules.clone(),
            since,
            _links: links,
        })
    }

    /// Stops counting a cgroup. Its counts are lost.
    pub fn detach(&mut self, pod: PodId) {
        if let Some(attached) = self.pods.remove(&pod) {
            self.clear(pod, Some(attached.cgroup), &attached.rules);
        }
    }

    /// Changes the counting rules of a cgroup (ports and excluded paths). The new rules apply from the next request on.
    ///
    /// # Errors
    /// The cgroup is not counted, the rules are invalid, or a map cannot be written.
    pub fn set_rules(&mut self, pod: PodId, rules: &Rules) -> Result<(), CounterError> {
        let attached = self.pods.get(&pod).ok_or(CounterError::Unknown(pod.0))?;
        let old = attached.rules.clone();
        self.write_rules(pod, rules, &old)?;
        if let Some(attached) = self.pods.get_mut(&pod) {
            attached.rules = rules.clone();
        }
        Ok(())
    }

    /// Reads the current counts of a cgroup.
    ///
    /// # Errors
    /// The cgroup is not counted, its counters changed during every attempt to read them, or the clock cannot be read.
    pub fn read(&self, pod: PodId) -> Result<Reading, CounterError> {
        if !self.pods.contains_key(&pod) {
            return Err(CounterError::Unknown(pod.0));
        }
        let counters = self.counters.read(pod.0)?;
        // The clock is read last, so every counted change happened before the time of the reading.
        Ok(Reading::new(now()?, &counters))
    }

    /// Returns the approximate number of requests in flight; 0 if the cgroup is not counted. Requests that begin or end
    /// during the call may be missing. A call costs a few memory loads, so it can be called often.
    pub fn peek(&self, pod: PodId) -> u64 {
        match self.pods.contains_key(&pod) {
            true => self.counters.in_flight(pod.0),
            false => 0,
        }
    }

    /// Returns the counted cgroups, including those adopted from an earlier process.
    pub fn pods(&self) -> impl Iterator<Item = PodId> + '_ {
        self.pods.keys().copied()
    }

    /// Finds a counted cgroup by its id (see [`cgroup::id`]).
    pub fn find(&self, cgroup: u64) -> Option<PodId> {
        self.pods
            .iter()
            .find(|(_, attached)| attached.cgroup == cgroup)
            .map(|(pod, _)| *pod)
    }

    /// Returns the counting rules of a cgroup.
    pub fn rules(&self, pod: PodId) -> Option<&Rules> {
        self.pods.get(&pod).map(|attached| &attached.rules)
    }

    /// Returns when the counting of a cgroup began, `CLOCK_MONOTONIC`; all counts were zero then. Two readings with the
    /// same start belong to one series, even if two processes took them.
    pub fn since(&self, pod: PodId) -> Option<Duration> {
        self.pods.get(&pod).map(|attached| attached.since)
    }

    /// Removes the assignment, the excluded paths and the overflow tables of a slot from the kernel's maps, and unpins
    /// the links of the slot.
    fn clear(&mut self, pod: PodId, cgroup: Option<u64>, rules: &Rules) {
        // The slot assignment is removed first. Without this removal it would outlive the links, and links that are
        // attached to the same cgroup later would at first count in this slot.
        let _ = self.unassign_slot(pod, cgroup);
        if let Some(pins) = &self.pins
            && let Err(error) = pins.unpin_slot(pod.0)
        {
            tracing::warn!(slot = pod.0, %error, "cannot unpin the programs of a cgroup: it is still counted");
        }
        self.remove_exclusions(pod, rules);
        if let Err(error) = self.free_overflow_tables(pod) {
            tracing::warn!(slot = pod.0, %error, "cannot free the overflow tables of a cgroup's HTTP/2 connections");
        }
    }
}

fn now() -> Result<Duration, CounterError> {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .map_err(CounterError::Clock)
}
