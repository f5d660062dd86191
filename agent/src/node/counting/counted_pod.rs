//! A counted pod.

use std::{path::PathBuf, time::Duration};

use ebb_agent::{CounterError, Reading, Rules};

use crate::node::{meter::Meter, pod::PodSpec};

/// The counter of a pod, and the pod's last reading.
#[derive(Debug)]
pub(super) struct CountedPod<P> {
    pub(super) pod: P,
    pub(super) path: PathBuf,
    pub(super) cgroup: u64,
    /// Start of the counting, `CLOCK_MONOTONIC`.
    pub(super) since: Duration,
    /// The last reading; `None` if it failed.
    pub(super) last: Option<Reading>,
    /// Burst threshold, in requests in flight.
    burst_threshold: u64,
}

impl<P: Copy> CountedPod<P> {
    /// Begins to count a pod, or continues the counting that an earlier agent began.
    pub(super) fn begin<M: Meter<Pod = P>>(
        meter: &mut M,
        path: PathBuf,
        spec: &PodSpec,
    ) -> Result<Self, CounterError> {
        let cgroup = meter.id(&path)?;
        let pod = match meter.find(cgroup) {
            Some(pod) => {
                apply_rules(meter, pod, &spec.rules)?;
                pod
            }
            None => meter.attach(&path, &spec.rules)?,
        };
        let last = meter.read(pod).ok();
        let counted = Self {
            pod,
            path,
            cgroup,
            since: meter.since(pod),
            burst_threshold: burst_threshold(last.as_ref().map_or(0, |last| last.in_flight), spec),
            last,
        };
        counted.arm(meter);
        Ok(counted)
    }

    /// Changes the counting rules of the pod. The new rules apply from the next request on.
    pub(super) fn apply_rules<M: Meter<Pod = P>>(
        &self,
        meter: &mut M,
        rules: &Rules,
    ) -> Result<(), CounterError> {
        apply_rules(meter, self.pod, rules)
    }

    /// Stores a reading and derives the next burst threshold from it.
    pub(super) fn record<M: Meter<Pod = P>>(
        &mut self,
        meter: &M,
        reading: Reading,
        spec: &PodSpec,
    ) {
        self.burst_threshold = burst_threshold(reading.in_flight, spec);
        self.last = Some(reading);
        self.arm(meter);
    }

    /// Sets the burst threshold in the kernel. The kernel wakes the agent once when the requests in flight may have
    /// reached the threshold.
    pub(super) fn arm<M: Meter<Pod = P>>(&self, meter: &M) {
        meter.wake_at(self.pod, self.burst_threshold);
    }

    /// Returns whether a burst has begun since the last reading.
    pub(super) fn bursts<M: Meter<Pod = P>>(&self, meter: &M) -> bool {
        meter.peek(self.pod) >= self.burst_threshold
    }
}

fn apply_rules<M: Meter>(meter: &mut M, pod: M::Pod, rules: &Rules) -> Result<(), CounterError> {
    match meter.has_rules(pod, rules) {
        true => Ok(()),
        false => meter.set_rules(pod, rules),
    }
}

/// Returns the burst threshold in requests in flight: twice the current number of requests in flight, but at least the
/// pod's target and at least 2.
fn burst_threshold(in_flight: u64, spec: &PodSpec) -> u64 {
    in_flight.saturating_mul(2).max(spec.target).max(2)
}
