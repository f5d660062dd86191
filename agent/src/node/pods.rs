//! The watch of this node's pods.

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

/// Pods per page of a list. Each page is in memory as a whole. A pod can have 1.5 MiB, the limit of etcd, so 20 pods
/// can take 30 MiB of the agent's 128 MiB.
const PAGE: u32 = 20;

/// The endless stream of pod events. After an error the watch restarts, with a growing delay.
pub(super) type Pods = Pin<Box<dyn Stream<Item = Result<Event<Pod>, watcher::Error>> + Send>>;

/// Watches the pods that are bound to a node.
pub(super) fn watch(client: Client, node: &str) -> Pods {
    let config = watcher::Config::default()
        .fields(&format!("spec.nodeName={node}"))
        .page_size(PAGE);
    watcher::watcher(Api::all(client), config)
        .default_backoff()
        .boxed()
}
