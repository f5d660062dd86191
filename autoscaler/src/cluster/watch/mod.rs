//! What the API server tells, followed as long as the program runs.
//!
//! Each watch goes on through outages: what was known stays until the server says otherwise. Bias: an object is gone
//! only when the server said so, or a full list came without it.

pub(super) mod config;
pub(super) mod pods;
pub(super) mod rivals;
pub(super) mod services;
pub(super) mod targets;

use std::{collections::HashMap, fmt::Debug, time::Duration};

use futures_util::{StreamExt as _, pin_mut};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{info, warn};

/// Objects a list brings at a time: a thousand pods are some 5 MB of JSON.
const PAGE: u32 = 500;

/// Longest wait before a watch is tried again. Short, because decisions stand still on what was last known.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A change of what is there.
#[derive(Debug)]
pub(super) enum Change<K> {
    /// It is there, or has changed.
    Seen(K),
    /// It is gone.
    Gone(Id),
    /// All there was has been told.
    Listed,
}

/// What is left of an object when it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Id {
    fn key(&self) -> Box<str> {
        format!("{}/{}", self.namespace, self.name).into()
    }
}

/// What is known, by `namespace/name`: its uid, and whether the list that is under way has it.
#[derive(Debug, Default)]
struct Known(HashMap<Box<str>, (Box<str>, bool)>);

impl Known {
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

/// Follows all objects `api` sees under `config`, for ever.
pub(super) async fn follow<K>(api: Api<K>, config: watcher::Config, mut tell: impl FnMut(Change<K>))
where
    K: Resource + Clone + Debug + Send + DeserializeOwned + 'static,
{
    let what = api.resource_url().to_owned();
    let stream = watcher::watcher(api, config.page_size(PAGE)).backoff(Pace::default());
    pin_mut!(stream);
    let mut known = Known::default();
    let mut trouble: Option<Instant> = None;
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                if trouble.is_none() {
                    warn!(%what, %error, "cannot watch; trying again");
                    trouble = Some(Instant::now());
                }
                continue;
            }
        };
        if let (Some(since), false) = (trouble, matches!(event, Event::Init)) {
            info!(%what, after = ?since.elapsed(), "watching again");
            trouble = None;
        }
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                if let Some(predecessor) = known.seen(&id(&object)) {
                    tell(Change::Gone(predecessor));
                }
                tell(Change::Seen(object));
            }
            Event::Delete(object) => {
                let id = id(&object);
                known.gone(&id);
                tell(Change::Gone(id));
            }
            Event::Init => known.list_begins(),
            Event::InitDone => {
                for id in known.list_ends() {
                    tell(Change::Gone(id));
                }
                tell(Change::Listed);
            }
        }
    }
}

fn id<K: Resource>(object: &K) -> Id {
    Id {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

/// `metadata.creationTimestamp`, Unix seconds; 0 where there is none.
pub(super) fn created(metadata: &ObjectMeta) -> i64 {
    let time = metadata.creation_timestamp.as_ref();
    time.map_or(0, |time| time.0.as_second())
}

/// Waits between tries: twice as long each time, until it went well for a while. A try that fails at once was well for
/// a moment too, so one good answer is not enough.
#[derive(Clone, Debug)]
struct Pace {
    wait: Duration,
    last: Instant,
}

/// First wait before a watch is tried again.
const SHORTEST_WAIT: Duration = Duration::from_millis(200);
/// Longer without a wait than this, and it went well.
const WELL_AFTER: Duration = Duration::from_secs(30);

impl Default for Pace {
    fn default() -> Self {
        Self {
            wait: SHORTEST_WAIT,
            last: Instant::now(),
        }
    }
}

impl Iterator for Pace {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.elapsed() > WELL_AFTER {
            self.wait = SHORTEST_WAIT;
        }
        self.last = Instant::now();
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST_WAIT);
        Some(wait)
    }
}

impl Backoff for Pace {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, uid: &str) -> Id {
        Id {
            namespace: "n".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    #[test]
    fn what_a_list_leaves_out_is_gone() {
        let mut known = Known::default();
        known.list_begins();
        for name in ["a", "b"] {
            assert_eq!(known.seen(&id(name, "1")), None);
        }
        assert_eq!(known.list_ends(), []);
        known.list_begins();
        known.seen(&id("b", "1"));
        assert_eq!(known.list_ends(), [id("a", "1")]);
    }

    #[test]
    fn a_successor_of_the_same_name_ends_its_predecessor() {
        let mut known = Known::default();
        known.seen(&id("a", "1"));
        assert_eq!(known.seen(&id("a", "2")), Some(id("a", "1")));
        assert_eq!(known.seen(&id("a", "2")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_grow_until_it_went_well() {
        let mut pace = Pace::default();
        let mut waits = || {
            let wait = pace.next().unwrap();
            pace.reset();
            wait.as_millis()
        };
        assert_eq!([waits(), waits(), waits()], [200, 400, 800]);
        tokio::time::advance(WELL_AFTER * 2).await;
        assert_eq!(waits(), 200);
    }
}
