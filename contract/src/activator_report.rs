//! The report of an activator to the autoscaler: the proxied Service ports on which it listens, and the requests queued
//! there. The report is described in `docs/activator.md`.
//!
//! The rules are those of [`Report`](crate::Report): all counters are cumulative, all times are on the sender's
//! `CLOCK_MONOTONIC`, and fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::bounded;

/// Path of the reports of activators. A report is sent with `POST`, as JSON.
pub const PATH: &str = "/v1/activator-report";

/// Maximum length of an accepted body, in bytes: all ten thousand activator ports at about 300 bytes each, and some
/// reserve.
pub const MAX_BODY: usize = 4 << 20;

/// The proxied Service ports of one activator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivatorReport {
    /// Name of the activator's pod.
    #[serde(deserialize_with = "bounded::owned")]
    pub activator: String,
    /// IP address of the activator, as in EndpointSlices.
    #[serde(deserialize_with = "bounded::owned")]
    pub address: String,
    /// Identifies one run of the sender: a text that differs at each start.
    #[serde(deserialize_with = "bounded::owned")]
    pub boot: String,
    /// True if the activator is stopping and must get no new traffic.
    #[serde(default)]
    pub leaving: bool,
    /// The ports on which the activator listens, each once.
    pub ports: Vec<PortReport>,
}

/// One proxied Service port and its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortReport {
    /// Namespace of the Service.
    #[serde(deserialize_with = "bounded::owned")]
    pub namespace: String,
    /// Name of the Service.
    #[serde(deserialize_with = "bounded::owned")]
    pub service: String,
    /// Name of the Service's port; empty if the port has no name.
    #[serde(deserialize_with = "bounded::owned")]
    pub port: String,
    /// Number of the activator port that the record of ports assigns to this Service port.
    pub number: u16,
    /// True if this activator is in the last EndpointSlice that it has seen for this port.
    pub in_path: bool,
    /// Time at which counting began, in ns. A new value means that all counters began again at zero.
    pub since: u64,
    /// Time at which the counters were read, in ns.
    pub at: u64,
    /// ∫ queued dt from `since` to `at`, in request-nanoseconds; wraps at 2^64.
    pub queued_integral: u64,
    /// Requests queued at `at`.
    pub queued: u64,
    /// All requests that have been queued since `since`, including those that are no longer queued.
    pub queued_ever: u64,
    /// Number of requests in flight at the pods at the time `at`. The autoscaler does not add them to the concurrency,
    /// because the kernel programs count them at the pods.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests that pods have answered since `since`.
    #[serde(default)]
    pub answered: u64,
}
