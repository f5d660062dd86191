//! What the agent asks of a counter: the kernel's, or a test's.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use ebb_agent::{
    CounterError, Reading, Rules, cgroup,
    counter::{Counter, PodId},
};

/// Counts in cgroups.
pub(super) trait Meter {
    /// A cgroup that is being counted.
    type Pod: Copy + Ord + std::fmt::Debug;

    /// The id of a cgroup.
    fn id(&self, path: &Path) -> Result<u64, CounterError>;
    /// Whether the cgroup at a path is still the one of that id. Asked of every pod each second.
    fn is_still(&self, path: &Path, id: u64) -> bool {
        fs::metadata(path).is_ok_and(|directory| directory.ino() == id)
    }
    /// Begins to count.
    fn attach(&mut self, path: &Path, rules: &Rules) -> Result<Self::Pod, CounterError>;
    /// Ends the counting.
    fn detach(&mut self, pod: Self::Pod);
    /// The figures now.
    fn read(&self, pod: Self::Pod) -> Result<Reading, CounterError>;
    /// In flight now, about.
    fn peek(&self, pod: Self::Pod) -> u64;
    /// Has the kernel wake the agent, once, when a pod has so many in flight, or earlier.
    fn wake_at(&self, pod: Self::Pod, in_flight: u64);
    /// All that is being counted, also from before this process.
    fn pods(&self) -> Vec<Self::Pod>;
    /// What counts in the cgroup of that id.
    fn find(&self, cgroup: u64) -> Option<Self::Pod>;
    /// Whether these are its rules.
    fn has_rules(&self, pod: Self::Pod, rules: &Rules) -> bool;
    /// Changes its rules.
    fn set_rules(&mut self, pod: Self::Pod, rules: &Rules) -> Result<(), CounterError>;
    /// When its counting began.
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
