//! Watches the record of ports, which assigns each port of this activator to a Service port. The autoscaler writes the
//! record into Ebb's namespace. Tenants cannot write it.
//!
//! Bias: recorded ports remain valid until the API server reports a change. Failure mode: an entry that cannot be
//! parsed is skipped, with a warning.

use std::collections::{BTreeMap, BTreeSet};

use ebb_contract::allotments::{self, Allotment, LABEL};
use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::listeners::Listeners;

/// Passes all records of ports in `namespace` to `listeners`, without end. Sets `listed` to true after the first
/// complete list.
pub(crate) async fn run(
    client: Client,
    namespace: String,
    listeners: Listeners,
    listed: watch::Sender<bool>,
) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels(&format!("{LABEL}=true"));
    let stream = watcher::watcher(api, config).backoff(watcher::DefaultBackoff::default());
    pin_mut!(stream);
    let (mut known, mut list) = (BTreeSet::new(), BTreeSet::new());
    let mut trouble = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => list = BTreeSet::new(),
            Ok(Event::InitApply(map)) => list.extend(update(&listeners, &map)),
            Ok(Event::InitDone) => {
                for gone in known.difference(&list) {
                    listeners.record(gone, BTreeMap::new());
                }
                known = std::mem::take(&mut list);
                listed.send_replace(true);
            }
            Ok(Event::Apply(map)) => known.extend(update(&listeners, &map)),
            Ok(Event::Delete(map)) => {
                if let Some(of) = allotments::namespace(&map.name_any()) {
                    listeners.record(of, BTreeMap::new());
                    known.remove(of);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut trouble, true) {
                    warn!(%error, %namespace, "cannot watch the records of activator ports; trying again");
                }
                continue;
            }
        }
        if std::mem::take(&mut trouble) {
            info!("watching the records of activator ports again");
        }
    }
}

/// Passes one record to `listeners`. Returns the namespace that the record is for.
fn update(listeners: &Listeners, map: &ConfigMap) -> Option<String> {
    let name = map.name_any();
    let Some(of) = allotments::namespace(&name) else {
        warn!(%name, "a ConfigMap with the label of an activator port record has no valid name; ignored");
        return None;
    };
    let mut record = BTreeMap::new();
    for (service, text) in map.data.iter().flatten() {
        match serde_json::from_str::<Allotment>(text) {
            Ok(allotment) if allotment.is_sound() => {
                record.insert(service.clone(), allotment);
            }
            _ => {
                warn!(%name, %service, "cannot read the record of a Service's activator ports; no listener is opened")
            }
        }
    }
    listeners.record(of, record);
    Some(of.to_owned())
}
