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

/// Pods per page of a list. A pod may have 1.5 MiB, the limit of etcd, and each page is in memory as a whole: 30 MiB of
/// the 128 MiB that an agent has.
const PAGE: u32 = 20;

/// The endless stream of pod events: after an error the watch restarts, with growing back-off.
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
