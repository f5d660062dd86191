//! What the API server tells, followed as long as the program runs.
//!
//! Each watch goes on through outages: what was known stays until the server says otherwise. How old it is is known
//! ([`heard`]), and nothing is scaled down on old facts.

pub(super) mod config;
mod follow;
pub(super) mod heard;
mod lenient;
mod pace;
pub(super) mod pods;
pub(super) mod rivals;
mod scaled;
pub(super) mod services;
pub(super) mod targets;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::follow::follow;

/// A change of what is there.
#[derive(Debug)]
pub(super) enum Change<K> {
    /// It is there, or has changed.
    Seen(K),
    /// It is gone.
    Gone(Id),
    /// All there was has been told.
    Listed,
}

/// What is left of an object when it is gone.
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

/// `metadata.creationTimestamp`, Unix seconds; 0 where there is none.
pub(super) fn created(metadata: &ObjectMeta) -> i64 {
    let time = metadata.creation_timestamp.as_ref();
    time.map_or(0, |time| time.0.as_second())
}
