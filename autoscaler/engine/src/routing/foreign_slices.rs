//! EndpointSlices with the `managed-by` label of Ebb that Ebb did not write.
//!
//! Ebb ignores these EndpointSlices: they change no port and no endpoint of Ebb. kube-proxy uses these EndpointSlices
//! like any other EndpointSlice of a Service in the same namespace. A limited number of Events in the namespace reports
//! these EndpointSlices, and a metric counts all of them.

use std::collections::BTreeMap;

use ebb_autoscaler_core::Timestamp;

use super::{event_limit::EventLimit, service::Name};
use crate::{effect::Notice, names::TargetKey, outbox::Outbox};

/// Uids of the ignored EndpointSlices, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct ForeignSlices(BTreeMap<Name, Box<str>>);

impl ForeignSlices {
    /// Records an EndpointSlice that Ebb ignores. Publishes an Event if the EndpointSlice is new.
    pub(super) fn seen(
        &mut self,
        now: Timestamp,
        namespace: &str,
        slice: &str,
        uid: &str,
        limit: &mut EventLimit,
        outbox: &mut Outbox,
    ) {
        let name = (namespace.into(), slice.into());
        let known = self.0.insert(name.clone(), uid.into());
        if known.is_none_or(|known| *known != *uid) {
            report(now, &name, uid, limit, outbox);
        }
    }

    /// Publishes an Event about every ignored EndpointSlice again, because this replica does not know which
    /// EndpointSlices the previous leader reported.
    pub(super) fn report_all(&self, now: Timestamp, limit: &mut EventLimit, outbox: &mut Outbox) {
        for (name, uid) in &self.0 {
            report(now, name, uid, limit, outbox);
        }
    }

    /// Removes an EndpointSlice from the ignored EndpointSlices.
    pub(super) fn gone(&mut self, namespace: &str, slice: &str) {
        self.0.remove(&(namespace.into(), slice.into()));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Publishes an Event about an ignored EndpointSlice if this replica is the leader and the namespace has not reached
/// its limit of Events.
fn report(
    now: Timestamp,
    (namespace, slice): &Name,
    uid: &str,
    limit: &mut EventLimit,
    outbox: &mut Outbox,
) {
    if !outbox.is_leading() || !limit.admits(namespace, "ForeignSlice", now) {
        return;
    }
    outbox.say(Notice {
        about: TargetKey::new("discovery.k8s.io", "EndpointSlice", namespace, slice),
        uid: uid.into(),
        warning: true,
        reason: "ForeignSlice",
        note: "ignored: the label endpointslice.kubernetes.io/managed-by=ebb.dev is set, but Ebb did not write this \
               EndpointSlice; delete it, or change the label"
            .to_owned(),
    });
}
