//! What is known of one Service's ports and slice, and what was asked for and is not confirmed yet.
//!
//! Bias: what the API server has confirmed counts. What was only asked for keeps its port numbers reserved, so that
//! nobody else gets them meanwhile.

use std::{collections::BTreeSet, time::Duration};

use ebb_autoscaler_core::Timestamp;
use ebb_contract::allotments::Allotment;

use super::{
    Name,
    numbers::{Numbers, Shortage},
    pace::Pace,
    slice::Written,
};
use crate::engine::TargetKey;

/// A slice that was asked for and that no watch has told of is asked for again after this time: an API server that
/// answers at all answers within three seconds.
pub(super) const ASKED_FOR: Duration = Duration::from_secs(5);

/// One Service.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Its record, as the API server has it.
    pub(super) record: Option<Allotment>,
    /// What its record is to be, asked for and not answered. `Some(None)`: no record.
    pub(super) asked_record: Option<Option<Allotment>>,
    /// The numbers that both claim, each since when.
    claims: BTreeSet<(u16, u64)>,
    /// The slice of the name that Ebb gives, as the API server has it.
    pub(super) seen: Option<Seen>,
    /// As it was asked for since, and when.
    pub(super) asked: Option<(Written, Timestamp)>,
    /// When its removal was asked for.
    pub(super) removing: Option<Timestamp>,
    /// A write was not answered: the slice may be there although no watch has told of it.
    pub(super) doubtful: bool,
    /// What was written last, and how often somebody has undone it.
    pub(super) last: Option<Written>,
    pub(super) undone: Pace,
    /// Writes that went wrong.
    pub(super) trouble: Pace,
    /// An Event has told of the trouble.
    pub(super) told: bool,
    /// Why it has not got all its ports.
    pub(super) short: Option<Shortage>,
    /// The slice says `scaled-to-zero`, and the workload has not been seen at zero since this process had it written.
    pub(super) marks: bool,
}

/// A slice of the name that Ebb gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: Box<str>,
    /// Whether it says that Ebb manages it.
    pub(super) claims: bool,
    /// Whether its ports may be taken over into the record: it was there before this replica led. A release before this
    /// one kept no record, and an upgrade shall move no port.
    pub(super) adoptable: bool,
    pub(super) written: Written,
}

impl Route {
    /// Whether the slice that is there is Ebb's.
    pub(super) fn is_ours(&self) -> bool {
        let adoptable = self
            .seen
            .as_ref()
            .is_some_and(|seen| seen.claims && seen.adoptable);
        self.record.is_some() || adoptable
    }

    /// The slice as it is, or was asked to be.
    pub(super) fn current(&self) -> Option<&Written> {
        let asked = self.asked.as_ref().map(|(written, _)| written);
        asked.or_else(|| self.confirmed())
    }

    /// The slice as the API server has it, if it is Ebb's.
    pub(super) fn confirmed(&self) -> Option<&Written> {
        let seen = self.seen.as_ref().filter(|_| self.is_ours());
        seen.map(|seen| &seen.written)
    }

    /// The workload that its record names, or else its slice.
    pub(super) fn workload(&self, namespace: &str) -> Option<TargetKey> {
        let text = match &self.record {
            Some(record) => &record.workload,
            None => &self.confirmed()?.workload,
        };
        workload(namespace, text)
    }

    /// Whether nothing is known of it any more.
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none()
            && self.asked_record.is_none()
            && self.seen.is_none()
            && self.asked.is_none()
            && !self.doubtful
    }

    /// Has the numbers claimed that its records name, and no others. Answers the numbers that it claims anew.
    pub(super) fn reclaim(
        &mut self,
        name: &Name,
        numbers: &mut Numbers,
        now: Timestamp,
    ) -> Vec<u16> {
        let asked = self.asked_record.iter().flatten();
        let claims: BTreeSet<_> = self
            .record
            .iter()
            .chain(asked)
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

/// The workload that `GROUP/KIND/NAME` names.
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
