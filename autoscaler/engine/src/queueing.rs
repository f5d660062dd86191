//! Where the requests of a workload without pods are queued.

/// Where the requests of a workload without pods are queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// Nowhere. Every workload keeps at least one pod.
    #[default]
    Nowhere,
    /// At the activators of a cluster, for the Services that can be proxied.
    Activators,
    /// At one proxy that receives every request, as in `ebb run`. No path switch is needed.
    Proxy,
}

impl Queueing {
    /// Returns whether requests are queued at activators, which need a path switch.
    pub(super) fn has_activators(self) -> bool {
        self == Self::Activators
    }
}
