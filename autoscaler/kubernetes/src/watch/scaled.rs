//! Objects of custom kinds, whose replicas are read from the scale subresource.
//!
//! The field with the replicas is named by the CustomResourceDefinition (`specReplicasPath`), and only the API server
//! needs to know it: GET of `/scale` returns the number, whatever the field is. The scale is read again when the watch
//! reports another `metadata.generation` of the object. The generation counts changes of everything but metadata and
//! status, see
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource>
//!
//! Bias: an object whose scale cannot be read is unknown, so it is not scaled. Failure mode: the scale of an object
//! that changes often is read continuously, but never twice at the same time. One read covers all changes since the
//! read before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ebb_engine::{Notice, TargetFacts, TargetKey};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Client, Error,
    core::{ApiResource, DynamicObject},
};
use tokio::{
    sync::Notify,
    time::{self, Instant},
};
use tracing::warn;

use crate::shared::Shared;

/// Maximum number of scales of one kind that are read at the same time.
const AT_A_TIME: usize = 8;
/// Wait before the next read if the API server did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Wait before the next read of a scale that is forbidden or absent. The permission may be granted later.
const ASK_AGAIN_SLOWLY: Duration = Duration::from_secs(45);

/// The objects of one kind that opted in.
#[derive(Debug, Default)]
pub(super) struct Scales {
    objects: Mutex<Objects>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: HashMap<TargetKey, Object>,
    /// The objects whose scale must be read, each with the time of the read.
    due: BTreeSet<(Instant, TargetKey)>,
}

#[derive(Debug)]
struct Object {
    /// The state of the object that the watch last reported, without its replicas.
    facts: TargetFacts,
    generation: Option<i64>,
    /// The last scale that was read.
    answer: Option<ObservedScale>,
    /// Time of the next read of the object's scale; `None` if no read is scheduled.
    due: Option<Instant>,
    /// Whether the object's scale is being read.
    asking: bool,
    /// Whether the object has changed since the current read began.
    again: bool,
    /// Whether an Event already says that the object's scale cannot be read.
    complained: bool,
}

/// A scale that was read, and the generation of the object at the beginning of the read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ObservedScale {
    generation: Option<i64>,
    replicas: u32,
    labels: BTreeMap<String, String>,
}

/// An object whose scale is to be read.
struct ScaleRead {
    key: TargetKey,
    uid: Box<str>,
    generation: Option<i64>,
}

impl Scales {
    /// Records that an opted-in object is new or has changed.
    pub(super) fn seen(&self, shared: &Shared, facts: TargetFacts, generation: Option<i64>) {
        let mut objects = self.lock();
        let key = facts.key.clone();
        let object = objects.by_key.entry(key.clone()).or_insert_with(|| Object {
            facts: facts.clone(),
            generation,
            answer: None,
            due: None,
            asking: false,
            again: false,
            complained: false,
        });
        if object.facts.uid != facts.uid {
            object.answer = None;
        }
        (object.facts, object.generation) = (facts, generation);
        match &object.answer {
            // An object of an aggregated API server may have no generation. Every change of such an object may concern
            // the replicas.
            Some(answer) if answer.generation == generation && generation.is_some() => {
                pass_to_engine(shared, &object.facts, answer);
            }
            _ => {
                objects.ask(&key, Instant::now());
                drop(objects);
                self.changed.notify_one();
            }
        }
    }

    /// Records that an object is gone, or that it is no longer opted in.
    pub(super) fn gone(&self, key: &TargetKey) {
        let mut objects = self.lock();
        if let Some(object) = objects.by_key.remove(key)
            && let Some(due) = object.due
        {
            objects.due.remove(&(due, key.clone()));
        }
    }

    /// Reads the scales that are due, without end.
    pub(super) async fn ask(&self, client: Client, kind: &ApiResource, shared: &Shared) {
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < AT_A_TIME
                && let Some(read) = self.next()
            {
                let key = &read.key;
                let api: Api<DynamicObject> =
                    Api::namespaced_with(client.clone(), &key.namespace, kind);
                asked.push(async move {
                    let answer = api.get_scale(&read.key.name).await;
                    (read, answer)
                });
            }
            let due = self.lock().due.first().map(|(due, _)| *due);
            let later = async {
                match due {
                    Some(due) => time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((read, answer)) = asked.next() => self.take(shared, &read, answer),
                () = self.changed.notified() => {}
                () = later, if asked.len() < AT_A_TIME => {}
            }
        }
    }

    fn next(&self) -> Option<ScaleRead> {
        let mut objects = self.lock();
        let (due, key) = objects.due.first().cloned()?;
        if due > Instant::now() {
            return None;
        }
        objects.due.pop_first();
        let object = objects.by_key.get_mut(&key)?;
        (object.due, object.asking, object.again) = (None, true, false);
        Some(ScaleRead {
            key,
            uid: object.facts.uid.clone(),
            generation: object.generation,
        })
    }

    fn take(&self, shared: &Shared, read: &ScaleRead, answer: Result<Scale, Error>) {
        let mut objects = self.lock();
        let Some(object) = objects.by_key.get_mut(&read.key) else {
            return;
        };
        object.asking = false;
        let same = object.facts.uid == read.uid;
        match answer {
            Ok(scale) if same => {
                let answer = ObservedScale {
                    generation: read.generation,
                    replicas: replicas(&scale),
                    labels: labels(&scale),
                };
                object.complained = false;
                if let Some(version) = scale.metadata.resource_version {
                    object.facts.resource_version = version.into();
                }
                pass_to_engine(shared, &object.facts, &answer);
                object.answer = Some(answer);
                if object.again {
                    objects.ask(&read.key, Instant::now());
                }
            }
            Ok(_) => objects.ask(&read.key, Instant::now()),
            Err(error) => {
                let lasting =
                    matches!(&error, Error::Api(status) if status.code < 500 && status.code != 429);
                if lasting && !std::mem::replace(&mut object.complained, true) {
                    complain(shared, &object.facts, &error);
                }
                let wait = if lasting { ASK_AGAIN_SLOWLY } else { ASK_AGAIN };
                objects.ask(&read.key, Instant::now() + wait);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    /// Schedules the read of an object's scale at `at`, or earlier if it is already scheduled. If a read of the scale
    /// is under way, another read follows it.
    fn ask(&mut self, key: &TargetKey, at: Instant) {
        let Some(object) = self.by_key.get_mut(key) else {
            return;
        };
        if object.asking {
            object.again = true;
            return;
        }
        if object.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = object.due.replace(at) {
            self.due.remove(&(due, key.clone()));
        }
        self.due.insert((at, key.clone()));
    }
}

fn pass_to_engine(shared: &Shared, facts: &TargetFacts, answer: &ObservedScale) {
    let mut facts = facts.clone();
    facts.replicas = answer.replicas;
    if facts.labels.is_empty() {
        facts.labels.clone_from(&answer.labels);
    }
    shared.with(|engine, now| engine.target_seen(now, facts));
    // The decision loop wakes up, because a decision for a new workload is due at once.
    shared.decision_wake_up.notify_one();
}

fn complain(shared: &Shared, facts: &TargetFacts, error: &Error) {
    let about = &facts.key;
    warn!(%about, %error, "the scale cannot be read; trying again slowly");
    shared.say(Notice {
        about: about.clone(),
        uid: facts.uid.clone(),
        warning: true,
        reason: "NotScalable",
        note: format!(
            "not scaled: its scale subresource cannot be read ({error}); Ebb needs the right to get and patch it"
        ),
    });
}

/// Returns `spec.replicas`. The API server omits the field if its value is 0.
fn replicas(scale: &Scale) -> u32 {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas);
    u32::try_from(replicas.unwrap_or(0)).unwrap_or(0)
}

/// Returns the labels that `status.selector` requires of pods. Only requirements of equality are read.
fn labels(scale: &Scale) -> BTreeMap<String, String> {
    let selector = scale.status.as_ref();
    let selector = selector.and_then(|status| status.selector.as_deref());
    let pairs = selector.unwrap_or_default().split(',');
    let pairs = pairs.filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| !key.ends_with('!') && !key.contains([' ', '(']))
        .map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
