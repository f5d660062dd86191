//! The pods of this node, as the API server tells of them.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};

use super::pod::Pod;

/// What happens to them, without end: the watch begins anew, with rests that grow, as often as it breaks.
pub(super) type Pods = Pin<Box<dyn Stream<Item = Result<Event<Pod>, watcher::Error>> + Send>>;

/// Watches the pods that are bound to a node.
pub(super) fn watch(client: Client, node: &str) -> Pods {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    watcher::watcher(Api::all(client), config)
        .default_backoff()
        .boxed()
}
