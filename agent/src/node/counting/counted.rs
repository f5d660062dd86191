//! One pod that is counted.

use std::{path::PathBuf, time::Duration};

use ebb_agent::{CounterError, Reading, Rules};

use crate::node::{meter::Meter, pod::Wanted};

/// A pod, as it is counted.
#[derive(Debug)]
pub(super) struct Counted<P> {
    pub(super) pod: P,
    pub(super) path: PathBuf,
    pub(super) cgroup: u64,
    /// When its counting began: `CLOCK_MONOTONIC`.
    pub(super) since: Duration,
    /// None where it could not be read.
    pub(super) last: Option<Reading>,
    /// In flight from which on it is a burst.
    mark: u64,
}

impl<P: Copy> Counted<P> {
    /// Begins to count a pod, or goes on where an earlier agent has begun.
    pub(super) fn begin<M: Meter<Pod = P>>(
        meter: &mut M,
        path: PathBuf,
        wanted: &Wanted,
    ) -> Result<Self, CounterError> {
        let cgroup = meter.id(&path)?;
        let pod = match meter.find(cgroup) {
            Some(pod) => {
                obey(meter, pod, &wanted.rules)?;
                pod
            }
            None => meter.attach(&path, &wanted.rules)?,
        };
        let last = meter.read(pod).ok();
        let counted = Self {
            pod,
            path,
            cgroup,
            since: meter.since(pod),
            mark: mark(last.as_ref().map_or(0, |last| last.in_flight), wanted),
            last,
        };
        counted.arm(meter);
        Ok(counted)
    }

    /// Counts by these rules from now on.
    pub(super) fn obey<M: Meter<Pod = P>>(
        &self,
        meter: &mut M,
        rules: &Rules,
    ) -> Result<(), CounterError> {
        obey(meter, self.pod, rules)
    }

    /// Keeps a reading, and measures the next burst from it.
    pub(super) fn keep<M: Meter<Pod = P>>(&mut self, meter: &M, reading: Reading, wanted: &Wanted) {
        self.mark = mark(reading.in_flight, wanted);
        self.last = Some(reading);
        self.arm(meter);
    }

    /// Has the kernel wake the agent when a burst may have begun.
    pub(super) fn arm<M: Meter<Pod = P>>(&self, meter: &M) {
        meter.wake_at(self.pod, self.mark);
    }

    /// Whether a burst has begun since the last reading.
    pub(super) fn bursts<M: Meter<Pod = P>>(&self, meter: &M) -> bool {
        meter.peek(self.pod) >= self.mark
    }
}

fn obey<M: Meter>(meter: &mut M, pod: M::Pod, rules: &Rules) -> Result<(), CounterError> {
    match meter.has_rules(pod, rules) {
        true => Ok(()),
        false => meter.set_rules(pod, rules),
    }
}

/// From how many in flight on it is a burst, given how many there are.
fn mark(in_flight: u64, wanted: &Wanted) -> u64 {
    in_flight.saturating_mul(2).max(wanted.carries).max(2)
}
