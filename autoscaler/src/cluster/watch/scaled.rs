//! Objects of kinds that are not Kubernetes' own: their replicas are what their scale subresource says.
//!
//! A CustomResourceDefinition names the field that holds the replicas (`specReplicasPath`), and only the API server need
//! know it: GET of `/scale` gives the number, wherever it is. The watch says when to ask: whenever an object has another
//! `metadata.generation`, which counts changes of everything but metadata and status
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource>).
//!
//! Bias: an object whose scale cannot be read is not known, so it is not scaled. Failure mode: an object that changes often
//! is asked for one time after the other, never twice at a time; what came meanwhile is in the next answer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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

use crate::{
    cluster::shared::Shared,
    engine::{Notice, TargetFacts, TargetKey},
};

/// Scales asked for at a time, of one kind.
const AT_A_TIME: usize = 8;
/// Wait before an API server that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Wait before a scale is asked for again that may not be read, or is not there. Rights may come later.
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
    /// Which are to be asked for, and when.
    due: BTreeSet<(Instant, TargetKey)>,
}

#[derive(Debug)]
struct Object {
    /// As the watch last told it; without its replicas.
    facts: TargetFacts,
    generation: Option<i64>,
    /// The answer to the last question.
    answer: Option<Answer>,
    /// When it is to be asked for.
    due: Option<Instant>,
    /// Whether it is being asked for.
    asking: bool,
    /// Whether it has changed since it was asked for.
    again: bool,
    /// Whether users were told that it cannot be read.
    complained: bool,
}

/// What a scale said, and of which state of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    generation: Option<i64>,
    replicas: u32,
    labels: BTreeMap<String, String>,
}

/// A scale to ask for.
struct Question {
    key: TargetKey,
    uid: Box<str>,
    generation: Option<i64>,
}

impl Scales {
    /// An object that opted in is there, or has changed.
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
            // Kinds of an aggregated API server may have no generation: then every change may be one of the replicas.
            Some(answer) if answer.generation == generation && generation.is_some() => {
                tell(shared, &object.facts, answer);
            }
            _ => {
                objects.ask(&key, Instant::now());
                drop(objects);
                self.changed.notify_one();
            }
        }
    }

    /// An object is gone, or no longer opted in.
    pub(super) fn gone(&self, key: &TargetKey) {
        let mut objects = self.lock();
        if let Some(object) = objects.by_key.remove(key)
            && let Some(due) = object.due
        {
            objects.due.remove(&(due, key.clone()));
        }
    }

    /// Asks for scales, for ever.
    pub(super) async fn ask(&self, client: Client, kind: &ApiResource, shared: &Shared) {
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < AT_A_TIME
                && let Some(question) = self.next()
            {
                let key = &question.key;
                let api: Api<DynamicObject> =
                    Api::namespaced_with(client.clone(), &key.namespace, kind);
                asked.push(async move {
                    let answer = api.get_scale(&question.key.name).await;
                    (question, answer)
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
                Some((question, answer)) = asked.next() => self.take(shared, &question, answer),
                () = self.changed.notified() => {}
                () = later, if asked.len() < AT_A_TIME => {}
            }
        }
    }

    fn next(&self) -> Option<Question> {
        let mut objects = self.lock();
        let (due, key) = objects.due.first().cloned()?;
        if due > Instant::now() {
            return None;
        }
        objects.due.pop_first();
        let object = objects.by_key.get_mut(&key)?;
        (object.due, object.asking, object.again) = (None, true, false);
        Some(Question {
            key,
            uid: object.facts.uid.clone(),
            generation: object.generation,
        })
    }

    fn take(&self, shared: &Shared, question: &Question, answer: Result<Scale, Error>) {
        let mut objects = self.lock();
        let Some(object) = objects.by_key.get_mut(&question.key) else {
            return;
        };
        object.asking = false;
        let same = object.facts.uid == question.uid;
        match answer {
            Ok(scale) if same => {
                let answer = Answer {
                    generation: question.generation,
                    replicas: replicas(&scale),
                    labels: labels(&scale),
                };
                object.complained = false;
                if let Some(version) = scale.metadata.resource_version {
                    object.facts.resource_version = version.into();
                }
                tell(shared, &object.facts, &answer);
                object.answer = Some(answer);
                if object.again {
                    objects.ask(&question.key, Instant::now());
                }
            }
            Ok(_) => objects.ask(&question.key, Instant::now()),
            Err(error) => {
                let lasting =
                    matches!(&error, Error::Api(status) if status.code < 500 && status.code != 429);
                if lasting && !std::mem::replace(&mut object.complained, true) {
                    complain(shared, &object.facts, &error);
                }
                let wait = if lasting { ASK_AGAIN_SLOWLY } else { ASK_AGAIN };
                objects.ask(&question.key, Instant::now() + wait);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    /// Has an object asked for at `at`, if not before. One that is being asked for is asked for again when the answer is
    /// there.
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

fn tell(shared: &Shared, facts: &TargetFacts, answer: &Answer) {
    let mut facts = facts.clone();
    facts.replicas = answer.replicas;
    if facts.labels.is_empty() {
        facts.labels.clone_from(&answer.labels);
    }
    shared.with(|engine, now| engine.target_seen(now, facts));
    // A new workload is due at once.
    shared.sooner.notify_one();
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

/// `spec.replicas`, which is left out where it is 0.
fn replicas(scale: &Scale) -> u32 {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas);
    u32::try_from(replicas.unwrap_or(0)).unwrap_or(0)
}

/// The labels that `status.selector` asks of pods, as far as it asks for equality.
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
