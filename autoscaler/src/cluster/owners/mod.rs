//! What the owners of pods, and the workloads that slices name, lead to.
//!
//! Bias: an API server that does not answer is asked again until it does, because a pod without a workload is load that
//! nobody sees, and its namespace does not shrink meanwhile. What leads nowhere is asked again slowly: rights may be given,
//! and kinds installed. Failure mode: while nobody answers, no workload of the namespace shrinks.

mod climb;
mod queue;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, warn};

use self::{
    climb::{Climbed, Failure},
    queue::Queue,
};
use super::{
    kinds::{Kind, Kinds},
    shared::Shared,
    watch::targets,
};
use crate::engine::{Dead, Owner, TargetKey};

/// Questions under way at a time: with the start of a large cluster in mind, less than the API server grants a client.
const AT_A_TIME: usize = 16;
/// Wait before an API server that did not answer is asked again: this long at first, twice as long each time.
const RETRY: Duration = Duration::from_secs(2);
/// And at most this long.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// What leads nowhere is asked again after this time, so that rights given meanwhile are seen within a minute.
const AGAIN: Duration = Duration::from_secs(45);
/// A kind that the cluster does not serve is asked for this often, then left until another pod names it.
const TRIES_OF_UNKNOWN_KINDS: u32 = 5;

/// Warnings about one namespace are at least this far apart.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// What to find out.
#[derive(Clone, Debug)]
enum Subject {
    /// What this owner of pods leads to.
    Owner(Arc<Owner>),
    /// Whether this exists and is the topmost.
    Target(TargetKey),
}

/// A question, and how often it has been asked.
#[derive(Debug)]
struct Question {
    subject: Subject,
    asked: u32,
}

/// Where questions are handed in.
#[derive(Clone, Debug)]
pub(super) struct Owners(mpsc::UnboundedSender<(Box<str>, Subject)>);

/// Asks the API server, in turn.
pub(super) struct Follower {
    client: Client,
    kinds: Arc<Kinds>,
    shared: Arc<Shared>,
    questions: mpsc::UnboundedReceiver<(Box<str>, Subject)>,
    /// Kinds whose objects are watched, by group and kind.
    watched: Mutex<HashSet<(String, String)>>,
    /// When a namespace last had a warning.
    warned: Mutex<HashMap<Box<str>, Instant>>,
}

impl Owners {
    /// A way in, and what follows what comes in. `watched`: kinds that are watched already.
    pub(super) fn new(
        client: Client,
        kinds: Arc<Kinds>,
        shared: Arc<Shared>,
        watched: impl IntoIterator<Item = (String, String)>,
    ) -> (Self, Follower) {
        let (sender, questions) = mpsc::unbounded_channel();
        let follower = Follower {
            client,
            kinds,
            shared,
            questions,
            watched: Mutex::new(watched.into_iter().collect()),
            warned: Mutex::default(),
        };
        (Self(sender), follower)
    }

    /// Finds what `owner` leads to and tells the engine.
    pub(super) fn follow(&self, namespace: Box<str>, owner: Arc<Owner>) {
        // Gone only at the very end.
        let _ = self.0.send((namespace, Subject::Owner(owner)));
    }

    /// Finds whether `target` is a workload and tells the engine.
    pub(super) fn confirm(&self, target: TargetKey) {
        let namespace = target.namespace.clone();
        let _ = self.0.send((namespace, Subject::Target(target)));
    }
}

impl Follower {
    /// Answers questions for as long as some may come.
    pub(super) async fn run(mut self) {
        let mut queue: Queue<Question> = Queue::default();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_A_TIME
                && let Some((namespace, question)) = queue.next(Instant::now())
            {
                if !self.is_wanted(&namespace, &question.subject) {
                    queue.done(&namespace);
                    continue;
                }
                let (client, kinds) = (self.client.clone(), Arc::clone(&self.kinds));
                under_way.spawn(async move {
                    let answer = ask(&client, &kinds, &namespace, &question.subject).await;
                    (namespace, question, answer)
                });
            }
            let due = queue.due().filter(|_| under_way.len() < AT_A_TIME);
            let later = async {
                match due {
                    Some(due) => time::sleep_until(due).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = self.questions.recv() => match asked {
                    Some((namespace, subject)) => queue.ask(namespace, Question { subject, asked: 0 }),
                    None => return,
                },
                Some(answered) = under_way.join_next() => match answered {
                    Ok((namespace, question, answer)) => {
                        queue.done(&namespace);
                        self.take(&mut queue, namespace, question, answer);
                    }
                    Err(error) => {
                        warn!(%error, "looking for the owner of an object failed");
                        return;
                    }
                },
                () = later => {}
            }
        }
    }

    /// Whether anybody still waits for the answer.
    fn is_wanted(&self, namespace: &str, subject: &Subject) -> bool {
        self.shared.with(|engine, _| match subject {
            Subject::Owner(owner) => engine.is_owner(namespace, owner),
            Subject::Target(target) => engine.is_named_by_slice(target),
        })
    }

    /// Takes an answer in, and has the question asked again where another answer may come.
    fn take(
        &self,
        queue: &mut Queue<Question>,
        namespace: Box<str>,
        mut question: Question,
        answer: Result<Climbed, Failure>,
    ) {
        let now = Instant::now();
        question.asked = question.asked.saturating_add(1);
        let climbed = match answer {
            Ok(climbed) => climbed,
            Err(error) => {
                if question.asked == 1 {
                    self.warn(&namespace, &question.subject, &error);
                }
                let wait = RETRY * 2_u32.saturating_pow(question.asked.min(8) - 1);
                return queue.ask_at(now + wait.min(LONGEST_RETRY), namespace, question);
            }
        };
        if let Some((key, kind)) = climbed.best() {
            self.watch(key, kind);
        }
        debug!(%namespace, subject = ?question.subject, followed = ?climbed.followed(), "owner followed");
        self.shared.with(|engine, at| match &question.subject {
            Subject::Owner(owner) => {
                engine.followed(at, &namespace, owner, climbed.followed());
            }
            Subject::Target(target) => engine.confirmed(at, target, climbed.followed()),
        });
        match climbed.end() {
            // Nothing is above: that stays so.
            None | Some(Dead::NotScalable) => {}
            Some(Dead::UnknownKind) if question.asked >= TRIES_OF_UNKNOWN_KINDS => {}
            Some(_) => queue.ask_again(now, AGAIN, namespace, question),
        }
    }

    /// Logs a failure. A namespace gets one warning a minute, because it may have thousands of owners.
    fn warn(&self, namespace: &str, subject: &Subject, error: &Failure) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|_, at| at.elapsed() < BETWEEN_WARNINGS);
        if warned.contains_key(namespace) {
            debug!(namespace, ?subject, %error, "cannot follow an owner; trying again");
            return;
        }
        warned.insert(namespace.into(), Instant::now());
        warn!(
            namespace,
            ?subject,
            %error,
            "cannot follow an owner; trying again (further ones of this namespace are logged at level debug for a minute)"
        );
    }

    /// Sees to it that objects of that kind are watched.
    fn watch(&self, key: &TargetKey, kind: &Kind) {
        let name = (key.group.to_string(), key.kind.to_string());
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.insert(name) {
            let (client, resource) = (self.client.clone(), kind.resource.clone());
            let name = format!("watching {}.{}", resource.plural, resource.group);
            let watched = targets::run(client, resource, Arc::clone(&self.shared), None);
            self.shared.tasks.spawn(name, watched);
        }
    }
}

async fn ask(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    subject: &Subject,
) -> Result<Climbed, Failure> {
    match subject {
        Subject::Owner(owner) => climb::from_owner(client, kinds, namespace, owner).await,
        Subject::Target(target) => climb::from_object(client, kinds, target).await,
    }
}
