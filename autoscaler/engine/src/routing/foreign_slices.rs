//! EndpointSlices with the `managed-by` label of Ebb that Ebb did not write.
//!
//! Ebb ignores these EndpointSlices: they change no port and no endpoint of Ebb. kube-proxy uses these EndpointSlices
//! like any other EndpointSlice of a Service in the same namespace. A limited number of Events in the namespace reports
//! these EndpointSlices, and a metric counts all of them.

use std::collections::BTreeMap;

use ebb_autoscaler_core::Timestamp;

use super::{Name, ServiceRouting};
use crate::{effect::Notice, names::TargetKey, outbox::Outbox};

/// Uids of the ignored EndpointSlices, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct ForeignSlices(BTreeMap<Name, Box<str>>);

impl ForeignSlices {
    /// Adds an EndpointSlice. Returns whether the EndpointSlice is new.
    pub(super) fn seen(&mut self, namespace: &str, slice: &str, uid: &str) -> bool {
        let name = (namespace.into(), slice.into());
        self.0
            .insert(name, uid.into())
            .is_none_or(|known| *known != *uid)
    }

    /// Removes an EndpointSlice.
    pub(super) fn gone(&mut self, namespace: &str, slice: &str) {
        self.0.remove(&(namespace.into(), slice.into()));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl ServiceRouting {
    /// Reports all ignored EndpointSlices again, because a new leader does not know which Events the previous leader
    /// published.
    pub(super) fn report_all_foreign(&mut self, now: Timestamp, outbox: &mut Outbox) {
        let all: Vec<_> = self.foreign.0.clone().into_iter().collect();
        for ((namespace, slice), uid) in all {
            self.report_foreign(now, &namespace, &slice, &uid, outbox);
        }
    }

    /// Publishes an Event about an ignored EndpointSlice, unless the limit of Events in the namespace is reached.
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
