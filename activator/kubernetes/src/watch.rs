//! Watches the EndpointSlices of the cluster.
//!
//! Bias: known pods remain in use until the API server reports a change. Failure mode: while the API server is
//! unavailable, requests are sent to the known pods.

use std::collections::HashSet;

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::listeners::Listeners;
use crate::slice;

/// Number of EndpointSlices per page of a list. A slice has up to 100 endpoints, which are about 50 KB of JSON. So a
/// page has at most about 10 MB.
const PAGE: u32 = 200;

/// Passes all EndpointSlices to `listeners`, without end. Sets `listed` to true after the first complete list.
pub(crate) async fn run(client: Client, listeners: Listeners, listed: watch::Sender<bool>) {
    let api: Api<EndpointSlice> = Api::all(client);
    let config = watcher::Config::default().page_size(PAGE);
    let stream = watcher::watcher(api, config).backoff(watcher::DefaultBackoff::default());
    pin_mut!(stream);
    let (mut known, mut list) = (HashSet::new(), HashSet::new());
    let mut trouble = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => list = HashSet::new(),
            Ok(Event::InitApply(slice)) => {
                list.insert(update(&listeners, &slice));
            }
            Ok(Event::InitDone) => {
                for gone in known.difference(&list) {
                    forget(&listeners, gone);
                }
                known = std::mem::take(&mut list);
                listed.send_replace(true);
            }
            Ok(Event::Apply(slice)) => {
                known.insert(update(&listeners, &slice));
            }
            Ok(Event::Delete(slice)) => {
                let id = id(&slice);
                forget(&listeners, &id);
                known.remove(&id);
            }
            Err(error) => {
                if !std::mem::replace(&mut trouble, true) {
                    warn!(%error, "cannot watch EndpointSlices; trying again");
                }
                continue;
            }
        }
        if std::mem::take(&mut trouble) {
            info!("watching EndpointSlices again");
        }
    }
}

type Id = (String, String);

fn id(slice: &EndpointSlice) -> Id {
    (slice.namespace().unwrap_or_default(), slice.name_any())
}

fn update(listeners: &Listeners, object: &EndpointSlice) -> Id {
    let id = id(object);
    listeners.slice(&id.0, &id.1, slice::read(object));
    id
}

fn forget(listeners: &Listeners, (namespace, name): &Id) {
    listeners.slice(namespace, name, None);
}
