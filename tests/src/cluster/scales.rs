//! When Deployments were scaled, as a watch tells it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api as KubeApi, ResourceExt};
use tokio::task::JoinHandle;

use super::api::Api;
use super::runtime;

/// Pods a Deployment is asked to have, and since when.
type Scale = (i32, Instant);

#[derive(Default)]
struct Shared(Mutex<HashMap<(String, String), Scale>>);

impl Shared {
    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), Scale>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows all Deployments.
pub struct Scales {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Scales {
    /// Follows those of a cluster.
    #[must_use]
    pub fn start(api: &Api) -> Self {
        let shared = Arc::new(Shared::default());
        let task = runtime().spawn(follow(api.clone(), Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Pods a Deployment is asked to have, and since when.
    #[must_use]
    pub fn of(&self, namespace: &str, name: &str) -> Option<Scale> {
        let key = (namespace.to_owned(), name.to_owned());
        self.shared.known().get(&key).copied()
    }
}

impl Drop for Scales {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api, shared: Arc<Shared>) {
    let deployments: KubeApi<Deployment> = KubeApi::all(api.client());
    let changes = watcher(deployments, watcher::Config::default()).default_backoff();
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = change else {
            continue;
        };
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        let replicas = object.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let mut known = shared.known();
        if known
            .get(&key)
            .is_none_or(|(before, _)| *before != replicas)
        {
            known.insert(key, (replicas, Instant::now()));
        }
    }
}
