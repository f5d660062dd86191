//! Slices that claim to be managed by Ebb and are not.
//!
//! Ebb ignores them: they change no port and no endpoint of its own. kube-proxy uses them, like any slice that the
//! namespace writes for its own Services. Events tell the namespace, up to a limit; a metric has the number.

use std::collections::BTreeMap;

use ebb_autoscaler_core::Timestamp;

use super::{Name, ServiceRouting};
use crate::{effect::Notice, names::TargetKey, outbox::Outbox};

/// The uids of these slices, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct ForeignSlices(BTreeMap<Name, Box<str>>);

impl ForeignSlices {
    /// Takes in a slice. Returns whether it was not known yet.
    pub(super) fn seen(&mut self, namespace: &str, slice: &str, uid: &str) -> bool {
        let name = (namespace.into(), slice.into());
        self.0
            .insert(name, uid.into())
            .is_none_or(|known| *known != *uid)
    }

    /// Takes in that a slice was deleted.
    pub(super) fn gone(&mut self, namespace: &str, slice: &str) {
        self.0.remove(&(namespace.into(), slice.into()));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl ServiceRouting {
    /// Reports all of them again: this replica does not know what the last leader reported.
    pub(super) fn report_all_foreign(&mut self, now: Timestamp, outbox: &mut Outbox) {
        let all: Vec<_> = self.foreign.0.clone().into_iter().collect();
        for ((namespace, slice), uid) in all {
            self.report_foreign(now, &namespace, &slice, &uid, outbox);
        }
    }

    /// Publishes an Event about an ignored slice in its namespace, up to the limit.
    pub(super) fn report_foreign(
        &mut self,
        now: Timestamp,
        namespace: &str,
        slice: &str,
        uid: &str,
        outbox: &mut Outbox,
    ) {
        if !outbox.is_leading() || !self.event_limit.admits(namespace, "ForeignSlice", now) {
            return;
        }
        outbox.say(Notice {
            about: TargetKey::new("discovery.k8s.io", "EndpointSlice", namespace, slice),
            uid: uid.into(),
            warning: true,
            reason: "ForeignSlice",
            note: "ignored: it has the label endpointslice.kubernetes.io/managed-by=ebb.dev and Ebb did not write it; \
                   delete it, or change the label"
                .to_owned(),
        });
    }
}
