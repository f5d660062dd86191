//! The state of one Service's ports and slice, and the writes that are requested and not confirmed yet.
//!
//! Bias: the state that the API server has confirmed is authoritative. Port numbers of a record that is only requested
//! stay reserved, so that no other Service gets them in the meantime.

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

/// A slice write that no watch has confirmed is requested again after this time. An API server that answers at all
/// answers within three seconds.
pub(super) const PENDING_FOR: Duration = Duration::from_secs(5);

/// Routing state of one Service.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// The record as the API server has it.
    pub(super) record: Option<Allotment>,
    /// The requested record that is not confirmed yet. `Some(None)`: removal of the record.
    pub(super) requested_record: Option<Option<Allotment>>,
    /// The numbers that both records claim, each with the time of its record.
    claims: BTreeSet<(u16, u64)>,
    /// The slice with the name for this Service, as the API server has it.
    pub(super) existing: Option<ExistingSlice>,
    /// The slice as it was requested since then, and when.
    pub(super) requested: Option<(ObservedSlice, Timestamp)>,
    /// When removal of the slice was requested.
    pub(super) removing: Option<Timestamp>,
    /// Whether a write was not answered: the slice may exist although no watch has reported it.
    pub(super) doubtful: bool,
    /// The last confirmed write, and the backoff for reverts of it by somebody else.
    pub(super) last: Option<ObservedSlice>,
    pub(super) undone: Backoff,
    /// Backoff for failed writes.
    pub(super) trouble: Backoff,
    /// Whether an Event has reported the failure.
    pub(super) reported: bool,
    /// Why it does not have all the ports it needs; `None`: it has them.
    pub(super) short: Option<Shortage>,
    /// Whether this process marked the slice `scaled-to-zero` while the workload still had replicas. False if the mark
    /// was found on the slice of a workload at zero.
    pub(super) marks: bool,
}

/// A slice with the name that Ebb gives to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExistingSlice {
    pub(super) uid: Box<str>,
    /// Whether its label says that Ebb manages it.
    pub(super) claims: bool,
    /// Whether its ports may be copied into the record, because it existed before this replica led. Earlier releases
    /// kept no record, and an upgrade must not move a port.
    pub(super) adoptable: bool,
    pub(super) written: ObservedSlice,
}

impl Route {
    /// Returns whether the existing slice is Ebb's.
    pub(super) fn is_ours(&self) -> bool {
        let adoptable = self
            .existing
            .as_ref()
            .is_some_and(|existing| existing.claims && existing.adoptable);
        self.record.is_some() || adoptable
    }

    /// Returns the slice as it was requested last, or else as it is.
    pub(super) fn current(&self) -> Option<&ObservedSlice> {
        let requested = self.requested.as_ref().map(|(written, _)| written);
        requested.or_else(|| self.confirmed())
    }

    /// Returns the slice as the API server has it, if it is Ebb's.
    pub(super) fn confirmed(&self) -> Option<&ObservedSlice> {
        let existing = self.existing.as_ref().filter(|_| self.is_ours());
        existing.map(|existing| &existing.written)
    }

    /// Returns the workload that the record names, or else the slice.
    pub(super) fn workload(&self, namespace: &str) -> Option<TargetKey> {
        let text = match &self.record {
            Some(record) => &record.workload,
            None => &self.confirmed()?.workload,
        };
        workload(namespace, text)
    }

    /// Returns whether nothing is known about the Service any more.
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.requested_record.is_none()
            && self.existing.is_none()
            && self.requested.is_none()
            && !self.doubtful
    }

    /// Claims the numbers in its two records and releases all others. Returns the newly claimed numbers.
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
