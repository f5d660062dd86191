//! A task that follows all objects of a kind, as a watch tells of them.

use std::fmt::Debug;

use futures_util::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api as KubeApi, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::api::Api;
use super::runtime;

/// Goes on until it is dropped.
pub(super) struct Following(JoinHandle<()>);

/// Tells `seen` of each object there is and of each change. A watch that breaks off begins anew, with all there is.
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
