//! The record of one namespace: which version of its ConfigMap is known, and whether a change is under way.
//!
//! There is one change at a time, based on the known version. If somebody else has changed the record, the API server
//! refuses the change, and it is made again from what the watch reports.

use std::collections::{BTreeMap, BTreeSet};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use super::{backoff::Backoff, route::PENDING_FOR};

/// State of a namespace's record.
#[derive(Debug, Default)]
pub(super) struct NamespaceRecord {
    /// `metadata.resourceVersion`; `None`: the ConfigMap does not exist.
    version: Option<Box<str>>,
    /// Services with an entry in it.
    pub(super) services: BTreeSet<Box<str>>,
    /// Number of keys that cannot be read.
    pub(super) senseless: usize,
    /// When the change that is under way was requested.
    requested: Option<Timestamp>,
    pub(super) backoff: Backoff,
    /// Services that wait until the change has ended.
    pub(super) waiting: BTreeSet<Box<str>>,
}

/// A change of a namespace's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// The namespace.
    pub namespace: Box<str>,
    /// The version that the change is based on; `None`: there is no record yet.
    pub version: Option<Box<str>>,
    /// The new entry of each changed Service; `None`: its entry is removed.
    pub changes: BTreeMap<Box<str>, Option<Allotment>>,
    /// Whether the record is empty after the change.
    pub empties: bool,
}

impl NamespaceRecord {
    /// Takes in the version of a ConfigMap, from a watch or from the answer to a write. Returns false if it is older
    /// than the known one. Versions of one resource increase: see "Resource versions" in
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/>.
    pub(super) fn is_news(&mut self, version: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        let known = self.version.as_deref().and_then(number);
        if let (Some(known), Some(seen)) = (known, version.and_then(number))
            && seen < known
        {
            return false;
        }
        self.version = version.map(Into::into);
        true
    }

    /// Returns until when no further change can be made; `None`: one can be made now.
    pub(super) fn busy_until(&self, now: Timestamp) -> Option<Timestamp> {
        let requested = self.requested.map(|requested| requested + PENDING_FOR);
        let requested = requested.filter(|until| *until > now);
        requested.max(self.backoff.until(now))
    }

    /// Begins a change, which is under way from now on.
    pub(super) fn change(
        &mut self,
        namespace: &str,
        changes: BTreeMap<Box<str>, Option<Allotment>>,
        now: Timestamp,
    ) -> RecordChange {
        self.requested = Some(now);
        let goes = |service: &str| matches!(changes.get(service), Some(None));
        let empties = self.senseless == 0
            && self.services.iter().all(|service| goes(service))
            && changes.values().all(Option::is_none);
        RecordChange {
            namespace: namespace.into(),
            version: self.version.clone(),
            empties,
            changes,
        }
    }

    /// Notes that the change has been answered.
    pub(super) fn answered(&mut self) {
        self.requested = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.version.is_none() && self.requested.is_none() && self.waiting.is_empty()
    }
}
