//! Facts about a workload that only the caller can know.

use crate::time::Timestamp;

/// The state of the cluster around one workload at the time of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Ready pods: running, ready and not being deleted. `None` if the number is unknown: no decision is made in this
    /// case.
    pub ready: Option<u32>,
    /// Requested replicas of the workload (`spec.replicas`).
    pub replicas: u32,
    /// Whether any route sends traffic to the workload; true if this is unknown.
    pub reachable: bool,
    /// Time at which the activator entered the request path; `None` while it is not in the path.
    pub proxying_since: Option<Timestamp>,
    /// Result of the probe that the last [`Step`](crate::Step) requested: whether the activator answers requests to the
    /// workload. `None` if there was no probe.
    pub activator_answers: Option<bool>,
    /// Whether a source has no current metrics. The known load may then be too low, so the workload is not scaled down.
    pub stale: bool,
}

impl Facts {
    /// Returns the facts about a workload whose replicas are plain processes behind one proxy, as in `ebb run`. The
    /// proxy receives all requests. The workload is reachable, and the proxy, which takes the place of the activator,
    /// always answers.
    ///
    /// With these facts, the last replica is removed after the workload was idle for the stable window, and after that
    /// for the grace period, or for the retention period if that is longer.
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
