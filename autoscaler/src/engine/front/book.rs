//! The record of one namespace: which version of its ConfigMap is known, and whether a change of it is under way.
//!
//! One change at a time, on the version that is known: if somebody else has changed the record, the API server refuses
//! the change, and it is made anew from what the watch tells.

use std::collections::{BTreeMap, BTreeSet};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use super::{pace::Pace, route::ASKED_FOR};

/// A namespace's record.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// `metadata.resourceVersion`; `None`: there is no ConfigMap.
    version: Option<Box<str>>,
    /// Services that it has.
    pub(super) services: BTreeSet<Box<str>>,
    /// Keys that make no sense.
    pub(super) senseless: usize,
    /// When the change that is under way was asked for.
    asked: Option<Timestamp>,
    pub(super) pace: Pace,
    /// Services that wait for the change to end.
    pub(super) waiting: BTreeSet<Box<str>>,
}

/// A change of a namespace's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// The namespace.
    pub namespace: Box<str>,
    /// The version that it changes; `None`: there is no record yet.
    pub version: Option<Box<str>>,
    /// By Service: what is recorded from now on; `None`: nothing.
    pub changes: BTreeMap<Box<str>, Option<Allotment>>,
    /// Nothing is left of the record.
    pub empties: bool,
}

impl Book {
    /// Takes in the version of a ConfigMap that was seen, or that a write has answered; false if it is older than the one
    /// that is known. Versions of one resource grow: see "Resource versions" in
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

    /// Until when no further change can be made; `None`: one can be made now.
    pub(super) fn busy_until(&self, now: Timestamp) -> Option<Timestamp> {
        let asked = self.asked.map(|asked| asked + ASKED_FOR);
        let asked = asked.filter(|until| *until > now);
        asked.max(self.pace.until(now))
    }

    /// A change that is under way from now on.
    pub(super) fn change(
        &mut self,
        namespace: &str,
        changes: BTreeMap<Box<str>, Option<Allotment>>,
        now: Timestamp,
    ) -> RecordChange {
        self.asked = Some(now);
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

    /// It has ended.
    pub(super) fn answered(&mut self) {
        self.asked = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.version.is_none() && self.asked.is_none() && self.waiting.is_empty()
    }
}
