//! The report of an activator to the autoscaler: the proxied Service ports on which it listens, and the requests queued
//! there. Described in `docs/activator.md`.
//!
//! The rules are those of [`Report`](crate::Report): everything but the gauges is cumulative, every time is the
//! sender's own `CLOCK_MONOTONIC`, fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::bounded;

/// The path for these reports: `POST`, JSON.
pub const PATH: &str = "/v1/doors";

/// Longest accepted body, in bytes: ten thousand ports, the whole range, at about 300 bytes each.
pub const MAX_BODY: usize = 4 << 20;

/// The proxied Service ports of one activator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// Name of the activator's pod.
    #[serde(deserialize_with = "bounded::owned")]
    pub activator: String,
    /// The activator's address, as in EndpointSlices.
    #[serde(deserialize_with = "bounded::owned")]
    pub address: String,
    /// A text that is different at each start of the sender.
    #[serde(deserialize_with = "bounded::owned")]
    pub boot: String,
    /// True if the activator is stopping: no new traffic may be routed to it.
    #[serde(default)]
    pub leaving: bool,
    /// The ports on which it listens, each once.
    pub doors: Vec<Door>,
}

/// One proxied Service port and its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Namespace of the Service.
    #[serde(deserialize_with = "bounded::owned")]
    pub namespace: String,
    /// Name of the Service.
    #[serde(deserialize_with = "bounded::owned")]
    pub service: String,
    /// Name of the Service's port; empty if it has none.
    #[serde(deserialize_with = "bounded::owned")]
    pub port: String,
    /// The activator port, as assigned in the record of ports.
    pub number: u16,
    /// True if the last EndpointSlice that this activator has seen routes to it.
    pub in_path: bool,
    /// When counting began, ns. A new value means that all counters began again at zero.
    pub since: u64,
    /// When the figures were read, ns.
    pub at: u64,
    /// ∫ queued dt from `since` to `at`, in request-nanoseconds; wraps at 2^64.
    pub held_integral: u64,
    /// Requests queued at `at`.
    pub held: u64,
    /// Requests ever queued.
    pub held_ever: u64,
    /// Requests in flight at pods at `at`. The kernel programs count these at the pods too, so they are not added to
    /// the concurrency.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests that pods have answered.
    #[serde(default)]
    pub answered: u64,
}
