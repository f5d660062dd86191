//! Where the requests of a workload without pods are queued.

/// Where the requests of a workload without pods are queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// Nowhere, so every workload keeps a pod.
    #[default]
    Nowhere,
    /// At the activators of a cluster, for the Services that can be led through them.
    Activators,
    /// At one proxy that every request passes, as in `ebb run`. No path has to be switched.
    Proxy,
}

impl Queueing {
    /// Returns whether there are activators, which are led into the request path and out of it.
    pub(super) fn has_activators(self) -> bool {
        self == Self::Activators
    }
}
