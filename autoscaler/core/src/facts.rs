//! Facts about a workload that only the caller can know.

use crate::time::Timestamp;

/// The state of the cluster around one workload at the time of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Ready pods: running, ready and not being deleted. `None` if the number is unknown; then nothing is decided.
    pub ready: Option<u32>,
    /// Requested replicas of the workload (`spec.replicas`).
    pub replicas: u32,
    /// Whether anything routes to the workload; unknown counts as true.
    pub reachable: bool,
    /// Since when the activator is in the request path; `None` while it is not.
    pub proxying_since: Option<Timestamp>,
    /// Whether the activator answers at the workload's address: the result of the probe that the last step requested.
    /// `None` if there was no probe.
    pub activator_answers: Option<bool>,
    /// Whether a source has no current metrics, so that the known load may be too low. The workload does not shrink
    /// then.
    pub stale: bool,
}

impl Facts {
    /// Facts about plain processes behind a front door that all requests go through: the workload is reachable, and the
    /// front door always answers.
    ///
    /// The last replica is then removed when the workload was idle for the stable window and then for the grace period,
    /// or for the retention period if that is longer.
    pub const fn local(ready: u32, replicas: u32) -> Self {
        Self {
            ready: Some(ready),
            replicas,
            reachable: true,
            proxying_since: None,
            activator_answers: Some(true),
            stale: false,
        }
    }
}
