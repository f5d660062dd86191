//! Where the requests of a workload without pods are queued.

/// Where the requests of a workload without pods are queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Queueing {
    /// Requests are queued nowhere, so every workload keeps at least one pod.
    #[default]
    Nowhere,
    /// Requests are queued at the activators of a cluster, for the Services that can be proxied.
    Activators,
    /// Requests are queued at one proxy, as in `ebb run`. The proxy always receives every request, so there is no
    /// request path to switch.
    Proxy,
}

impl Queueing {
    /// Returns whether requests are queued at activators. If so, the request path of a workload must be switched to
    /// them and back.
    pub(super) fn has_activators(self) -> bool {
        self == Self::Activators
    }
}
