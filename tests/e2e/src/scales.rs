//! A record of the requested replicas of Deployments, with the time of each change, from a watch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::runtime::watcher::Event;

use super::api::Api;
use super::follow::{Following, follow};

/// Requested replicas of a Deployment, and the time of the change to this number.
type Scale = (i32, Instant);

#[derive(Default)]
struct Shared(Mutex<HashMap<(String, String), Vec<Scale>>>);

impl Shared {
    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Vec<Scale>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self, object: &Deployment) {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let replicas = object.spec.as_ref().and_then(|spec| spec.replicas);
        let replicas = replicas.unwrap_or(1);
        let mut known = self.known();
        let known = known.entry(key).or_default();
        if known.last().is_none_or(|(before, _)| *before != replicas) {
            known.push((replicas, Instant::now()));
        }
    }
}

/// Records the requested replicas of all Deployments.
pub struct Scales {
    shared: Arc<Shared>,
    _following: Following,
}

impl Scales {
    /// Starts to watch all Deployments of a cluster.
    #[must_use]
    pub fn start(api: &Api) -> Self {
        let shared = Arc::new(Shared::default());
        let kept = Arc::clone(&shared);
        let following = follow(api, move |change| {
            if let Event::Apply(object) | Event::InitApply(object) = change {
                kept.seen(&object);
            }
        });
        Self {
            shared,
            _following: following,
        }
    }

    /// Returns a Deployment's requested replicas and the time of their last change; `None` if the Deployment is
    /// unknown.
    #[must_use]
    pub fn of(&self, namespace: &str, name: &str) -> Option<Scale> {
        let key = (namespace.to_owned(), name.to_owned());
        self.shared.known().get(&key)?.last().copied()
    }

    /// Returns all values of a Deployment's requested replicas so far, each with the time of the change, oldest first.
    #[must_use]
    pub fn history(&self, namespace: &str, name: &str) -> Vec<(i32, Instant)> {
        let key = (namespace.to_owned(), name.to_owned());
        self.shared.known().get(&key).cloned().unwrap_or_default()
    }
}
