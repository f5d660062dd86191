//! The ConfigMap `config-autoscaler`. The autoscaler follows its changes.
//!
//! Bias: the ConfigMap is applied as a whole or not at all. An invalid ConfigMap gets an Event, and the previous
//! settings stay in force. Without previous settings nothing is decided, because the user did not choose the defaults.

use std::sync::Arc;

use ebb_autoscaler_core::Config;
use ebb_engine::{Notice, TargetKey};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt as _, runtime::watcher};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Change, age::Dependents, follow};
use crate::{events::Events, shared::Shared, sync::Part};

/// Keeps the engine's settings equal to the ConfigMap; an absent ConfigMap counts as an empty one.
pub(crate) async fn run(
    client: Client,
    namespace: String,
    name: String,
    shared: Arc<Shared>,
    events: Events,
    leading: watch::Receiver<bool>,
    listed: Part,
) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let (bad, what_is_bad) = watch::channel(None);
    let tell = tell_of_bad(what_is_bad, leading, events);
    let mut there = false;
    let watch = shared.watches.add("configmaps", Dependents::None);
    let read = follow(api, only, &watch, |change| match change {
        Change::Seen(map) => {
            there = true;
            let data = map.data.iter().flatten();
            match Config::from_map(data.map(|(key, value)| (key.as_str(), value.as_str()))) {
                Ok(config) => {
                    info!(%name, "settings applied");
                    bad.send_replace(None);
                    shared.with(|engine, now| engine.configure(now, config));
                }
                Err(problems) => {
                    warn!(%name, %problems, "settings rejected; the previous ones stay in force");
                    bad.send_replace(Some(Notice {
                        about: TargetKey::new("", "ConfigMap", &namespace, &name),
                        uid: map.uid().unwrap_or_default().into(),
                        warning: true,
                        reason: "InvalidSettings",
                        note: format!(
                            "rejected as a whole; the previous settings stay in force: {problems}"
                        ),
                    }));
                }
            }
        }
        Change::Gone(_) => {
            there = false;
            info!(%name, "the ConfigMap was deleted; the defaults apply");
            bad.send_replace(None);
            shared.with(|engine, now| engine.configure(now, Config::default()));
        }
        Change::Listed => {
            if !there {
                shared.with(|engine, now| engine.configure(now, Config::default()));
            }
            listed.done();
        }
    });
    tokio::join!(read, tell);
}

/// Publishes an Event about an invalid ConfigMap while this replica leads. The Event is also published if the ConfigMap
/// became invalid before this replica led.
async fn tell_of_bad(
    mut bad: watch::Receiver<Option<Notice>>,
    mut leading: watch::Receiver<bool>,
    events: Events,
) {
    loop {
        let notice = bad.borrow_and_update().clone();
        if let (true, Some(notice)) = (*leading.borrow_and_update(), notice) {
            events.say(notice);
        }
        let changed = tokio::select! {
            changed = bad.changed() => changed,
            changed = leading.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}
