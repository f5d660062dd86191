//! The ConfigMap that records the activator ports of one namespace: its known version, and whether a change is pending.
//!
//! Only one change is pending at a time, and each change is based on the known version. If another client has changed
//! the ConfigMap, the API server refuses the change. The change is then computed again from the version that the watch
//! reports.

use std::collections::{BTreeMap, BTreeSet};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use super::{backoff::Backoff, route::PENDING_FOR};

/// State of the ConfigMap that records the activator ports of one namespace.
#[derive(Debug, Default)]
pub(super) struct NamespaceRecord {
    /// `metadata.resourceVersion` of the ConfigMap; `None`: the ConfigMap does not exist.
    version: Option<Box<str>>,
    /// Names of the Services with a key in the ConfigMap that records activator ports.
    pub(super) services: BTreeSet<Box<str>>,
    /// Number of keys in the ConfigMap that cannot be parsed.
    pub(super) senseless: usize,
    /// Time at which the pending change was requested; `None`: no change is pending.
    requested: Option<Timestamp>,
    pub(super) backoff: Backoff,
    /// Services that wait until the pending change of the ConfigMap has ended.
    pub(super) waiting: BTreeSet<Box<str>>,
}

/// A change of the ConfigMap that records the activator ports of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// Namespace of the Services.
    pub namespace: Box<str>,
    /// `metadata.resourceVersion` of the ConfigMap on which the change is based; `None`: the ConfigMap does not exist
    /// yet.
    pub version: Option<Box<str>>,
    /// New value in the ConfigMap for each changed Service, by name; `None`: the key of the Service is removed.
    pub changes: BTreeMap<Box<str>, Option<Allotment>>,
    /// Whether the ConfigMap has no keys after the change.
    pub empties: bool,
}

impl NamespaceRecord {
    /// Updates the known version of the ConfigMap, from a watch or from the answer to a write. Returns false if
    /// `version` is older than the known version. The versions of one resource increase: see "Resource versions" in
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

    /// Returns the time until which no further change of the ConfigMap can be made; `None`: a change can be made now.
    pub(super) fn busy_until(&self, now: Timestamp) -> Option<Timestamp> {
        let requested = self.requested.map(|requested| requested + PENDING_FOR);
        let requested = requested.filter(|until| *until > now);
        requested.max(self.backoff.until(now))
    }

    /// Creates a change of the ConfigMap, which is pending until [`Self::answered`] is called.
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

    /// Records that the API server has answered the pending change, or that no answer has arrived.
    pub(super) fn answered(&mut self) {
        self.requested = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.version.is_none() && self.requested.is_none() && self.waiting.is_empty()
    }
}
