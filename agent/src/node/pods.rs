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

/// Pods that a list brings at a time. One may have 1.5 MiB, as much as etcd takes, and each answer is in memory as a whole:
/// 30 MiB of the 128 that an agent has.
const PAGE: u32 = 20;

/// What happens to them, without end: the watch begins anew, with rests that grow, as often as it breaks.
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
