//! The state of an activator: the last report of the activator, and the requests that the activator has queued.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ebb_autoscaler_core::Timestamp;

use super::listening_time::ListeningTime;
use crate::{
    names::WorkloadId,
    sender::Sender,
    series::{STALE_AFTER, Series},
};

/// A Service port: namespace, name of the Service, name of the port.
pub(super) type PortKey = (Box<str>, Box<str>, Box<str>);

/// State of one activator.
#[derive(Debug)]
pub(super) struct Activator {
    pub(super) info: ActivatorInfo,
    pub(super) sender: Sender,
    pub(super) series: HashMap<PortKey, Waiting>,
}

/// Requests queued at one proxied Service port of one activator.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The workload that the queued requests are for.
    pub(super) workload: WorkloadId,
    pub(super) series: Series,
    /// Number of started requests of this port that were counted as load while queued, before a pod reports them
    /// (included in [`crate::workload_state::WorkloadState::counted_ahead`]).
    pub(super) ahead: f64,
}

/// An activator, as its last report describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActivatorInfo {
    /// Name of the activator's pod.
    pub(super) name: String,
    /// Address of the activator.
    pub(super) address: IpAddr,
    /// Arrival time of the last report.
    pub(super) at: Timestamp,
    /// Whether the activator is shutting down.
    pub(super) leaving: bool,
    /// The proxied Service ports on which the activator listens. Value: whether the activator has seen its own address
    /// in the EndpointSlice of the Service.
    pub(super) ports: BTreeMap<ProxiedPort, bool>,
}

/// A proxied Service port on an activator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProxiedPort {
    pub(super) namespace: String,
    pub(super) service: String,
    /// Name of the port.
    pub(super) port: String,
    /// Port number on the activator.
    pub(super) number: u16,
}

/// The last reports of the activators, and the time for which this replica has been receiving reports without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActivatorReports<'a> {
    pub(super) activators: &'a [&'a ActivatorInfo],
    pub(super) listening: ListeningTime,
    pub(super) now: Timestamp,
}

impl<'a> ActivatorReports<'a> {
    /// Returns the activator with the newest report from an address.
    pub(super) fn newest_at(&self, address: IpAddr) -> Option<&'a ActivatorInfo> {
        let here = self.activators.iter().copied();
        here.filter(|activator| activator.address == address)
            .max_by_key(|activator| activator.at)
    }
}

/// Returns whether the last report of an activator is current.
pub(super) fn is_current(activator: &ActivatorInfo, now: Timestamp) -> bool {
    now.since(activator.at) < STALE_AFTER
}
