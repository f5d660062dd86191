//! The activity of a workload: whether the workload is serving, and since when. It corresponds to Knative's `Active`
//! condition.

use std::time::Duration;

use crate::time::Timestamp;

/// Whether a workload is serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Pods are desired, but not enough of them are ready yet (`Active=Unknown`).
    Activating,
    /// The workload is serving (`Active=True`).
    Active,
    /// The workload has no traffic. It is being scaled to zero, or is at zero (`Active=False`).
    Inactive,
}

/// The current [`Activity`] of a workload, the time of its last change, and whether the workload has ever started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the workload is serving.
    pub activity: Activity,
    /// Time of the last change of `activity`.
    pub since: Timestamp,
    /// Whether the number of ready pods has ever reached the number that the workload is to start with.
    pub initialized: bool,
}

impl Status {
    /// Returns the status of a workload that was just created.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            activity: Activity::Activating,
            since: now,
            initialized: false,
        }
    }

    /// Returns the time since the last change of `activity`.
    pub(crate) const fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }

    /// Updates the status with the desired and the ready pods, as Knative's `computeActiveCondition` does.
    ///
    /// `threshold` is the number of ready pods from which the workload counts as serving; 0 for a workload that may
    /// start without pods.
    pub(crate) fn observe(
        &mut self,
        now: Timestamp,
        want: Option<u32>,
        ready: u32,
        threshold: u32,
    ) {
        self.initialized |= ready >= threshold;
        let next = if want == Some(0) || threshold == 0 {
            Activity::Inactive
        } else if want.is_none() && self.activity == Activity::Inactive {
            // After a restart of the autoscaler, the desired number of pods is unknown until the first decision on
            // metrics, so an inactive workload remains inactive.
            Activity::Inactive
        } else if ready < threshold {
            Activity::Activating
        } else {
            Activity::Active
        };
        if next != self.activity {
            self.activity = next;
            self.since = now;
        }
    }
}
