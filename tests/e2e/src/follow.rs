//! A background task that watches all objects of a kind.

use std::fmt::Debug;

use futures_util::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api as KubeApi, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::api::Api;
use super::runtime;

/// A running watch. Dropping it ends the watch.
pub(super) struct Following(JoinHandle<()>);

/// Watches a kind, and calls `seen` with each existing object and each change. An aborted watch starts again; `seen` is
/// then called with all existing objects again.
pub(super) fn follow<K>(
    api: &Api,
    mut seen: impl FnMut(watcher::Event<K>) + Send + 'static,
) -> Following
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let objects: KubeApi<K> = KubeApi::all(api.client());
    Following(runtime().spawn(async move {
        let changes = watcher(objects, watcher::Config::default()).default_backoff();
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.next().await {
            if let Ok(change) = change {
                seen(change);
            }
        }
    }))
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}
