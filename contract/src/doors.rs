//! What an activator tells the autoscaler: at which doors it listens, and who waits there. Written up in
//! `docs/activator.md`.
//!
//! The rules are those of [`Report`](crate::Report): everything but the gauges is cumulative, every time is the
//! sender's own `CLOCK_MONOTONIC`, fields are only ever added.

use serde::{Deserialize, Serialize};

use crate::bounded;

/// Where it is sent: `POST`, JSON.
pub const PATH: &str = "/v1/doors";

/// Longest body that is read, in bytes: ten thousand doors, all the ports there are, at some 300 bytes each.
pub const MAX_BODY: usize = 4 << 20;

/// The doors of one activator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// Name of the activator's pod.
    #[serde(deserialize_with = "bounded::owned")]
    pub activator: String,
    /// Its address, as slices give it.
    #[serde(deserialize_with = "bounded::owned")]
    pub address: String,
    /// Tells one start of the sender from the next.
    #[serde(deserialize_with = "bounded::owned")]
    pub boot: String,
    /// It is about to go: nothing new should be led to it.
    #[serde(default)]
    pub leaving: bool,
    /// The doors at which it listens, each once.
    pub doors: Vec<Door>,
}

/// One port of one Service, and what waits there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Namespace of the Service.
    #[serde(deserialize_with = "bounded::owned")]
    pub namespace: String,
    /// Its name.
    #[serde(deserialize_with = "bounded::owned")]
    pub service: String,
    /// Name of its port; empty where it has none.
    #[serde(deserialize_with = "bounded::owned")]
    pub port: String,
    /// The port on the activator that stands for it, as allotted by the slice.
    pub number: u16,
    /// The slice that this activator has seen last leads to it.
    pub in_path: bool,
    /// When counting began, ns. Another value says that all counters began anew at zero.
    pub since: u64,
    /// When the figures were read, ns.
    pub at: u64,
    /// ∫ held dt from `since` to `at`, in request-nanoseconds; wraps at 2^64.
    pub held_integral: u64,
    /// Requests held at `at`.
    pub held: u64,
    /// Requests that were ever held.
    pub held_ever: u64,
    /// Requests at pods at `at`. The kernel counts these too, at the pods: they add nothing to the load.
    #[serde(default)]
    pub in_flight: u64,
    /// Requests that pods have answered.
    #[serde(default)]
    pub answered: u64,
}
