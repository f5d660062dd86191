//! An activator: its last report, and the requests that are queued there.

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

/// Namespace, Service and name of the port.
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
    /// The workload that the figures were counted for.
    pub(super) workload: WorkloadId,
    pub(super) series: Series,
    /// The part of [`crate::entry::WorkloadState::counted_ahead`] that was counted here.
    pub(super) ahead: f64,
}

/// An activator, as its last report describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActivatorInfo {
    /// Name of its pod.
    pub(super) name: String,
    /// Its address.
    pub(super) address: IpAddr,
    /// When its last report arrived.
    pub(super) at: Timestamp,
    /// Whether it is shutting down.
    pub(super) leaving: bool,
    /// The proxied Service ports on which it listens.
    pub(super) ports: BTreeMap<ProxiedPort, bool>,
}

/// A proxied Service port: namespace, Service, name of the port, number. Its value in [`ActivatorInfo::ports`] is
/// whether the activator has seen its own address in the slice.
pub(super) type ProxiedPort = (String, String, String, u16);

/// The reports of the activators, and since when this replica has been receiving them.
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

/// Returns whether its last report is current.
pub(super) fn is_there(activator: &ActivatorInfo, now: Timestamp) -> bool {
    now.since(activator.at) < STALE_AFTER
}
