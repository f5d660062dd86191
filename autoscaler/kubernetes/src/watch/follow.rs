//! Lists all objects of a kind, then watches them as long as the program runs.
//!
//! A watch starts again every [`LIFE`], from the version that it has reached. A restart costs the API server one read
//! of its cache. So each watch gets a sign of life (an event or an answer) at least this often, even in a quiet
//! cluster, and a watch that gets none for longer is dead. A dead watch is replaced at once: its connection and all
//! idle connections are closed ([`api`](crate::api)).
//!
//! Bias: an object counts as deleted only if the server reported the deletion, or if a complete list did not contain
//! the object. Failure mode: in a watch, an object that cannot be parsed is skipped with a warning. In a list, such an
//! object makes the whole list fail, so the types are parsed leniently.

use std::{collections::HashMap, fmt::Debug, time::Duration};

use futures_util::{StreamExt as _, pin_mut};
use kube::{
    Api, Error, Resource, ResourceExt as _,
    api::{ListParams, WatchParams},
    core::WatchEvent,
    runtime::watcher,
};
use serde::de::DeserializeOwned;
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{Change, Id, age::Watch, backoff};

/// Number of objects in one page of a list. A page of pods has some 2.5 MB of JSON: a thousand pods have some 5 MB.
const PAGE: u32 = 500;

/// Life of a watch: the time after which the API server is requested to end the watch. A bookmark arrives 2 s before
/// the end (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>). The life is half of the
/// age at which facts are stale.
pub(super) const LIFE: Duration = Duration::from_secs(15);
/// A watch is dead if it has received nothing for `LIFE` plus this time.
const LATE: Duration = Duration::from_secs(5);
/// If the server ends a watch sooner than after this time, the watch starts again only after a wait.
const ENDED_EARLY: Duration = Duration::from_secs(1);

/// Why a watch must start again.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Api(#[from] Error),
    #[error("no message for {:?}; a new connection is used", LIFE + LATE)]
    Silent,
    #[error("the server no longer has this version; all objects are listed again")]
    TooOld,
    #[error("a list or an event has no resourceVersion")]
    NoVersion,
}

/// Follows all objects of `api` that the selectors of `config` match, without end.
pub(crate) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    watch: &Watch,
    on_change: impl FnMut(Change<K>),
) where
    K: Resource + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let mut follower = Follower {
        api,
        config,
        watch,
        known: KnownObjects::default(),
        on_change,
        version: None,
        trouble: None,
    };
    let mut waits = backoff::waits();
    loop {
        watch.record_progress();
        let began = Instant::now();
        match follower.go_on().await {
            Ok(()) if began.elapsed() >= ENDED_EARLY => {}
            // The next watch starts at once: the watch that got no event has already waited for its whole time limit.
            Err(broken @ Broken::Silent) => follower.complain(&broken),
            result => {
                if let Err(broken) = result {
                    follower.complain(&broken);
                    if !matches!(broken, Broken::Api(_)) {
                        follower.version = None;
                    }
                }
                if let Some(wait) = waits.next() {
                    time::sleep(wait).await;
                }
            }
        }
    }
}

struct Follower<'a, K, F> {
    api: Api<K>,
    config: watcher::Config,
    watch: &'a Watch,
    known: KnownObjects,
    on_change: F,
    /// The version that the next watch starts from; `None`: all objects must be listed first.
    version: Option<String>,
    /// Time of the first failure; `None` while the watch works.
    trouble: Option<Instant>,
}

impl<K, F> Follower<'_, K, F>
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + 'static,
    F: FnMut(Change<K>),
{
    /// Lists the objects if necessary, then watches them until the server ends the watch.
    async fn go_on(&mut self) -> Result<(), Broken> {
        let version = match self.version.take() {
            Some(version) => version,
            None => self.list().await?,
        };
        self.version = Some(version.clone());
        self.watch_from(&version).await
    }

    async fn list(&mut self) -> Result<String, Broken> {
        self.known.list_begins();
        let mut parameters = ListParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        loop {
            let list = self.api.list(&parameters).await?;
            self.record_message();
            for object in list.items {
                self.seen(object);
            }
            let metadata = list.metadata;
            parameters.continue_token = metadata.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                for id in self.known.list_ends() {
                    (self.on_change)(Change::Gone(id));
                }
                (self.on_change)(Change::Listed);
                let version = metadata.resource_version;
                return version
                    .filter(|version| !version.is_empty())
                    .ok_or(Broken::NoVersion);
            }
        }
    }

    async fn watch_from(&mut self, version: &str) -> Result<(), Broken> {
        let parameters = WatchParams {
            label_selector: self.config.label_selector.clone(),
            field_selector: self.config.field_selector.clone(),
            timeout: Some(LIFE.as_secs() as u32),
            bookmarks: true,
            ..WatchParams::default()
        };
        let events = match self.api.watch(&parameters, version).await {
            Err(Error::Api(status)) if status.code == 410 => return Err(Broken::TooOld),
            events => events?,
        };
        self.record_message();
        pin_mut!(events);
        loop {
            let Ok(event) = time::timeout(LIFE + LATE, events.next()).await else {
                return Err(Broken::Silent);
            };
            // The watch ended or was aborted. The next request shows whether the server can be reached.
            let Some(event) = event else { return Ok(()) };
            let event = match event {
                // The unreadable event is skipped. A new watch would not help, because it would return the same event
                // again.
                Err(error) if is_unreadable(&error) => {
                    warn!(kind = %self.watch.kind(), ?error, "an object cannot be read and is ignored");
                    self.record_message();
                    continue;
                }
                event => event?,
            };
            self.record_message();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.version = Some(version_of(&object)?);
                    self.seen(object);
                }
                WatchEvent::Deleted(object) => {
                    self.version = Some(version_of(&object)?);
                    let id = id(&object);
                    self.known.gone(&id);
                    (self.on_change)(Change::Gone(id));
                }
                WatchEvent::Bookmark(bookmark) => {
                    self.version = Some(bookmark.metadata.resource_version);
                }
                WatchEvent::Error(status) if status.code == 410 => return Err(Broken::TooOld),
                WatchEvent::Error(status) => return Err(Error::Api(status).into()),
            }
        }
    }

    fn seen(&mut self, object: K) {
        if let Some(predecessor) = self.known.seen(&id(&object)) {
            (self.on_change)(Change::Gone(predecessor));
        }
        (self.on_change)(Change::Seen(object));
    }

    fn record_message(&mut self) {
        self.watch.record_message();
        if let Some(since) = self.trouble.take() {
            info!(kind = %self.watch.kind(), after = ?since.elapsed(), "watching again");
        }
    }

    fn complain(&mut self, broken: &Broken) {
        // `TooOld` is not logged, because it is normal: the API server keeps old versions for some minutes only.
        if matches!(broken, Broken::TooOld) || self.trouble.is_some() {
            return;
        }
        warn!(kind = %self.watch.kind(), error = %broken, "cannot watch; trying again");
        self.trouble = Some(Instant::now());
    }
}

/// Returns whether the error means that a line of a watch is not an event of the expected type. kube tries to read such
/// a line as a `Status`. All fields of a `Status` may be absent, so this usually succeeds, and the error is a `Status`
/// without a code.
fn is_unreadable(error: &Error) -> bool {
    match error {
        Error::SerdeError(_) => true,
        Error::Api(status) => status.code == 0,
        _ => false,
    }
}

fn version_of<K: Resource>(object: &K) -> Result<String, Broken> {
    let version = object.resource_version();
    version
        .filter(|version| !version.is_empty())
        .ok_or(Broken::NoVersion)
}

fn id<K: Resource>(object: &K) -> Id {
    Id {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

/// The known objects by `namespace/name`: (uid, whether the current list contains the object).
#[derive(Debug, Default)]
struct KnownObjects(HashMap<Box<str>, (Box<str>, bool)>);

impl KnownObjects {
    fn seen(&mut self, id: &Id) -> Option<Id> {
        let before = self.0.insert(id.key(), (id.uid.as_str().into(), true));
        let (uid, _) = before.filter(|(uid, _)| **uid != *id.uid)?;
        Some(Id {
            uid: uid.into(),
            ..id.clone()
        })
    }

    fn gone(&mut self, id: &Id) {
        self.0.remove(&id.key());
    }

    fn list_begins(&mut self) {
        for (_, listed) in self.0.values_mut() {
            *listed = false;
        }
    }

    fn list_ends(&mut self) -> Vec<Id> {
        let gone = self.0.extract_if(|_, (_, listed)| !*listed);
        gone.map(|(key, (uid, _))| {
            let (namespace, name) = key.split_once('/').unwrap_or(("", &key));
            Id {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: uid.into(),
            }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
