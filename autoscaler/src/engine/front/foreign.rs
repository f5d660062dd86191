//! Slices that claim to be Ebb's and are not.
//!
//! They are ignored: they change no port and no endpoint. kube-proxy follows them, as any slice of that namespace's own
//! Services. The namespace is told, with a bound; a metric has the number.

use std::collections::BTreeMap;

use ebb_autoscaler_core::Timestamp;

use super::Name;
use crate::engine::{
    Engine,
    effect::{Effect, Notice},
    names::TargetKey,
};

/// Those that are there: their uids by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Foreign(BTreeMap<Name, Box<str>>);

impl Foreign {
    /// One is there; whether it was not known.
    pub(super) fn seen(&mut self, namespace: &str, slice: &str, uid: &str) -> bool {
        let name = (namespace.into(), slice.into());
        self.0
            .insert(name, uid.into())
            .is_none_or(|known| *known != *uid)
    }

    /// One is gone.
    pub(super) fn gone(&mut self, namespace: &str, slice: &str) {
        self.0.remove(&(namespace.into(), slice.into()));
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl Engine {
    /// What the leader before has told is not known here, so it is told again.
    pub(super) fn say_all_foreign(&mut self, now: Timestamp) {
        let all: Vec<_> = self.fronts.foreign.0.clone().into_iter().collect();
        for ((namespace, slice), uid) in all {
            self.say_foreign(now, &namespace, &slice, &uid);
        }
    }

    /// Tells the namespace of a slice that is ignored.
    pub(super) fn say_foreign(&mut self, now: Timestamp, namespace: &str, slice: &str, uid: &str) {
        if !self.leading || !self.fronts.said.may_say(namespace, "ForeignSlice", now) {
            return;
        }
        self.effects.push(Effect::Say(Notice {
            about: TargetKey::new("discovery.k8s.io", "EndpointSlice", namespace, slice),
            uid: uid.into(),
            warning: true,
            reason: "ForeignSlice",
            note: "ignored: it has the label endpointslice.kubernetes.io/managed-by=ebb.dev and Ebb did not write it; \
                   delete it, or change the label"
                .to_owned(),
        }));
    }
}
