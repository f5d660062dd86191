//! The state of the ports and the EndpointSlice of one Service, and the writes that are requested and not confirmed
//! yet.
//!
//! Bias: the state that the API server has confirmed is authoritative. The port numbers of a requested record are
//! reserved until the answer arrives, so that no other Service gets these numbers in the meantime.

use std::{collections::BTreeSet, time::Duration};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use super::{
    backoff::Backoff,
    port_numbers::{PortNumbers, Shortage},
    service::Name,
    slice::ObservedSlice,
};
use crate::TargetKey;

/// Time after which a write is repeated if neither the answer of the API server nor the watch has confirmed the write.
/// The API server usually answers within three seconds.
pub(super) const PENDING_FOR: Duration = Duration::from_secs(5);

/// Routing state of one Service.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Recorded ports of the Service in the API server; `None`: no ports are recorded.
    pub(super) record: Option<Allotment>,
    /// Requested change of the recorded ports that is not answered yet; `Some(None)`: removal.
    pub(super) requested_record: Option<Option<Allotment>>,
    /// Activator port numbers that this Service claims: those in the record in the API server, and those in a requested
    /// change of the record. Each number has the time since which it is recorded, in Unix seconds.
    claims: BTreeSet<(u16, u64)>,
    /// The EndpointSlice `SERVICE-ebb` in the API server: the name of Ebb's slice for this Service.
    pub(super) existing: Option<ExistingSlice>,
    /// Requested content of the EndpointSlice that the watch has not reported yet, and the time of the request.
    pub(super) requested: Option<(ObservedSlice, Timestamp)>,
    /// Time at which the removal of the EndpointSlice was requested; `None`: no removal is pending.
    pub(super) removing: Option<Timestamp>,
    /// Whether a write was not answered, so that the EndpointSlice may exist although the watch has not reported it.
    pub(super) doubtful: bool,
    /// EndpointSlice content of the last successful write of this leader.
    pub(super) last: Option<ObservedSlice>,
    pub(super) undone: Backoff,
    /// Backoff after failed writes.
    pub(super) trouble: Backoff,
    /// Whether an Event has reported the failed writes.
    pub(super) reported: bool,
    /// Reason why the Service does not have all the ports it needs; `None`: it has all ports.
    pub(super) short: Option<Shortage>,
    /// Whether this process set the annotation `ebb.dev/scaled-to-zero` on the EndpointSlice while the workload still
    /// had replicas. False if this process found the annotation when the workload was already at zero.
    pub(super) annotated: bool,
}

/// An EndpointSlice `SERVICE-ebb` in the API server. This is the name of Ebb's slice for a Service, but a tenant can
/// use the name, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExistingSlice {
    pub(super) uid: Box<str>,
    /// Whether the label of the EndpointSlice says that Ebb manages it.
    pub(super) claims: bool,
    /// Whether the ports of the EndpointSlice may be copied into the record of activator ports. True if the
    /// EndpointSlice existed before this replica became the leader. An earlier release, which recorded no ports, may
    /// have written it, and an upgrade must not change a port number.
    pub(super) adoptable: bool,
    pub(super) written: ObservedSlice,
}

impl Route {
    /// Returns whether the existing EndpointSlice belongs to Ebb.
    pub(super) fn is_ours(&self) -> bool {
        let adoptable = self
            .existing
            .as_ref()
            .is_some_and(|existing| existing.claims && existing.adoptable);
        self.record.is_some() || adoptable
    }

    /// Returns the requested content of the EndpointSlice, or the confirmed content if no write is pending.
    pub(super) fn current(&self) -> Option<&ObservedSlice> {
        let requested = self.requested.as_ref().map(|(written, _)| written);
        requested.or_else(|| self.confirmed())
    }

    /// Returns the content of the EndpointSlice in the API server, if the EndpointSlice belongs to Ebb.
    pub(super) fn confirmed(&self) -> Option<&ObservedSlice> {
        let existing = self.existing.as_ref().filter(|_| self.is_ours());
        existing.map(|existing| &existing.written)
    }

    /// Returns the workload that the recorded ports of the Service name; if no ports are recorded, the workload that
    /// the EndpointSlice names.
    pub(super) fn workload(&self, namespace: &str) -> Option<TargetKey> {
        let text = match &self.record {
            Some(record) => &record.workload,
            None => &self.confirmed()?.workload,
        };
        workload(namespace, text)
    }

    /// Returns whether the Service has neither recorded ports nor an EndpointSlice, and no write is pending.
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.requested_record.is_none()
            && self.existing.is_none()
            && self.requested.is_none()
            && !self.doubtful
    }

    /// Claims the activator port numbers that are recorded for the Service, and those in a requested change of this
    /// record. Releases all other numbers. Returns the newly claimed numbers.
    pub(super) fn reclaim(
        &mut self,
        name: &Name,
        numbers: &mut PortNumbers,
        now: Timestamp,
    ) -> Vec<u16> {
        let requested = self.requested_record.iter().flatten();
        let claims: BTreeSet<_> = self
            .record
            .iter()
            .chain(requested)
            .flat_map(|record| record.ports.values().map(|port| (*port, record.since)))
            .collect();
        let new: Vec<_> = claims.difference(&self.claims).copied().collect();
        for (number, since) in &new {
            numbers.claim(*number, *since, name);
        }
        for (number, since) in self.claims.difference(&claims) {
            numbers.release(*number, *since, name, now);
        }
        self.claims = claims;
        new.into_iter().map(|(number, _)| number).collect()
    }
}

/// Parses `GROUP/KIND/NAME` into the key of a workload; `None` if the text is invalid.
pub(super) fn workload(namespace: &str, text: &str) -> Option<TargetKey> {
    let (group, rest) = text.split_once('/')?;
    let (kind, name) = rest.split_once('/')?;
    let whole = !kind.is_empty() && !name.is_empty() && !name.contains('/');
    whole.then(|| TargetKey::new(group, kind, namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_is_named_in_three_parts() {
        let web = TargetKey::new("apps", "Deployment", "shop", "web");
        assert_eq!(workload("shop", "apps/Deployment/web"), Some(web));
        let core = TargetKey::new("", "Thing", "shop", "web");
        assert_eq!(workload("shop", "/Thing/web"), Some(core));
        for bad in [
            "",
            "web",
            "apps/Deployment",
            "apps/Deployment/",
            "a//w",
            "a/b/c/d",
        ] {
            assert_eq!(workload("shop", bad), None, "{bad}");
        }
    }
}
