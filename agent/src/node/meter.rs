//! The interface of a counter. It is implemented by the kernel counter, and by a table in memory for tests.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use ebb_agent::{
    CounterError, Reading, Rules, cgroup,
    counter::{Counter, PodId},
};

/// Counts requests in cgroups.
pub(super) trait Meter {
    /// A cgroup that is being counted.
    type Pod: Copy + Ord + std::fmt::Debug;

    /// Returns the id of a cgroup.
    fn id(&self, path: &Path) -> Result<u64, CounterError>;
    /// Returns whether the cgroup at a path still has this id. The agent checks every pod once a second.
    fn is_still(&self, path: &Path, id: u64) -> bool {
        fs::metadata(path).is_ok_and(|directory| directory.ino() == id)
    }
    /// Begins to count a cgroup.
    fn attach(&mut self, path: &Path, rules: &Rules) -> Result<Self::Pod, CounterError>;
    /// Stops counting a cgroup.
    fn detach(&mut self, pod: Self::Pod);
    /// Reads the current counts of a cgroup.
    fn read(&self, pod: Self::Pod) -> Result<Reading, CounterError>;
    /// Returns the approximate number of requests in flight.
    fn peek(&self, pod: Self::Pod) -> u64;
    /// Requests one wake-up of the agent from the kernel programs: when the pod has this number of requests in flight,
    /// or earlier.
    fn wake_at(&self, pod: Self::Pod, in_flight: u64);
    /// Returns all counted cgroups, including those of earlier agents.
    fn pods(&self) -> Vec<Self::Pod>;
    /// Returns the counted cgroup with this id.
    fn find(&self, cgroup: u64) -> Option<Self::Pod>;
    /// Returns whether the pod has these counting rules.
    fn has_rules(&self, pod: Self::Pod, rules: &Rules) -> bool;
    /// Changes the counting rules of a pod.
    fn set_rules(&mut self, pod: Self::Pod, rules: &Rules) -> Result<(), CounterError>;
    /// Returns the start of the counting, `CLOCK_MONOTONIC`.
    fn since(&self, pod: Self::Pod) -> Duration;
}

impl Meter for Counter {
    type Pod = PodId;

    fn id(&self, path: &Path) -> Result<u64, CounterError> {
        Ok(cgroup::id(path)?)
    }

    fn attach(&mut self, path: &Path, rules: &Rules) -> Result<PodId, CounterError> {
        Self::attach(self, path, rules)
    }

    fn detach(&mut self, pod: PodId) {
        Self::detach(self, pod);
    }

    fn read(&self, pod: PodId) -> Result<Reading, CounterError> {
        Self::read(self, pod)
    }

    fn peek(&self, pod: PodId) -> u64 {
        Self::peek(self, pod)
    }

    fn wake_at(&self, pod: PodId, in_flight: u64) {
        Self::wake_at(self, pod, in_flight);
    }

    fn pods(&self) -> Vec<PodId> {
        Self::pods(self).collect()
    }

    fn find(&self, cgroup: u64) -> Option<PodId> {
        Self::find(self, cgroup)
    }

    fn has_rules(&self, pod: PodId, rules: &Rules) -> bool {
        self.rules(pod) == Some(rules)
    }

    fn set_rules(&mut self, pod: PodId, rules: &Rules) -> Result<(), CounterError> {
        Self::set_rules(self, pod, rules)
    }

    fn since(&self, pod: PodId) -> Duration {
        Self::since(self, pod).unwrap_or_default()
    }
}
