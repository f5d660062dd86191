//! What only the caller can see of a workload.

use crate::time::Timestamp;

/// The outside world at the time of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Pods that can take requests: running, ready, not being deleted. `None` when it cannot be
    /// told; then nothing is decided.
    pub ready: Option<u32>,
    /// Pods the workload is asked to have now (`spec.replicas`).
    pub replicas: u32,
    /// Whether anything routes to the workload; unknown counts as yes. See [`Facts::is_reachable`].
    pub reachable: bool,
    /// Since when the activator is in the path; `None` while it is not.
    pub proxying_since: Option<Timestamp>,
    /// Whether the activator is what answers at the workload's address: the result of the probe
    /// that the step before asked for. `None` when it has not been tried.
    pub activator_answers: Option<bool>,
    /// Whether a source of figures has gone silent, so that what is known may be too little. A
    /// workload does not shrink then.
    pub stale: bool,
}

impl Facts {
    /// The facts of plain processes behind a door that all requests go through: reachable, and the
    /// door answers always.
    ///
    /// The last copy then goes when it was idle for the stable window and the grace period (or the
    /// retention where that is longer).
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

    /// Whether a Knative revision is reachable: not when its routing state is `reserve`, nor when
    /// its infrastructure failed while it wants pods and none is ready.
    pub const fn is_reachable(
        reserve: bool,
        infrastructure_failed: bool,
        replicas: u32,
        ready: u32,
    ) -> bool {
        !(reserve || infrastructure_failed && replicas > 0 && ready == 0)
    }
}
