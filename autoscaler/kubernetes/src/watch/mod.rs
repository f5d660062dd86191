//! Watches of the API server. They run as long as the program.
//!
//! Each watch continues through outages: the last known facts remain in use until the API server reports a change.
//! [`age`] records the age of the facts. With stale facts, nothing is scaled down.

pub(super) mod age;
mod backoff;
pub(super) mod config;
pub(super) mod conflicts;
mod follow;
mod lenient;
pub(super) mod pods;
mod scaled;
pub(super) mod services;
pub(super) mod targets;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::follow::follow;

/// A change of the objects that a watch follows.
#[derive(Debug)]
pub(super) enum Change<K> {
    /// The object is new, or has changed.
    Seen(K),
    /// The object is gone.
    Gone(Id),
    /// All objects of a complete list have been passed on.
    Listed,
}

/// The identity of an object that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Id {
    fn key(&self) -> Box<str> {
        format!("{}/{}", self.namespace, self.name).into()
    }
}

/// Returns `metadata.creationTimestamp` in Unix seconds; 0 if it is absent.
pub(super) fn created(metadata: &ObjectMeta) -> i64 {
    let time = metadata.creation_timestamp.as_ref();
    time.map_or(0, |time| time.0.as_second())
}
