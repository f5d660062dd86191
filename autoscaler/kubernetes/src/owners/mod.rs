//! Finds the workloads of pods, from their owner references, and checks the workloads that slices name.
//!
//! Bias: towards not scaling down. The load of a pod whose workload is not known yet is counted for no workload, so no
//! workload of the pod's namespace is scaled down meanwhile. A lookup without an answer is repeated until it is
//! answered. An owner without a workload is looked up again at long intervals, because permissions may be granted and
//! kinds installed. Failure mode: if lookups are never answered, no workload of the namespace is ever scaled down.

mod climb;
mod queue;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ebb_engine::{NoTargetReason, Owner, TargetKey};
use kube::Client;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, warn};

use self::{
    climb::{Failure, OwnerChain},
    queue::Queue,
};
use super::{
    kinds::{Kind, Kinds},
    shared::Shared,
    watch::targets,
};

/// Maximum number of lookups of owners that are under way at the same time: fewer than the API server allows a client,
/// even at the start of a large cluster.
const AT_A_TIME: usize = 16;
/// First wait before an unanswered lookup is repeated; the wait doubles each time.
const RETRY: Duration = Duration::from_secs(2);
/// Longest wait before an unanswered lookup is repeated.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Wait before a lookup is repeated that was answered, but found no workload. New permissions take effect within a
/// minute.
const AGAIN: Duration = Duration::from_secs(45);
/// Maximum number of lookups of an owner whose kind the cluster does not serve. After this number, the owner is not
/// looked up again; another owner of the same kind is.
const TRIES_OF_UNKNOWN_KINDS: u32 = 5;

/// Shortest time between two warnings about one namespace.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// What a lookup in the API server is to find out.
#[derive(Clone, Debug)]
enum Subject {
    /// The workload to which the pods of this owner belong.
    Owner(Arc<Owner>),
    /// Whether this object exists, and whether it is the topmost scalable object of its chain of owners.
    Target(TargetKey),
}

/// A lookup in the API server, and the number of times that it was made.
#[derive(Debug)]
struct Lookup {
    subject: Subject,
    asked: u32,
}

/// Sends requested lookups to the [`OwnerResolver`].
#[derive(Clone, Debug)]
pub(super) struct Owners(mpsc::UnboundedSender<(Box<str>, Subject)>);

/// The task that makes the requested lookups in the API server.
pub(super) struct OwnerResolver {
    client: Client,
    kinds: Arc<Kinds>,
    shared: Arc<Shared>,
    lookups: mpsc::UnboundedReceiver<(Box<str>, Subject)>,
    /// Kinds whose objects are watched, as (group, kind).
    watched: Mutex<HashSet<(String, String)>>,
    /// Time of the last warning, by namespace.
    warned: Mutex<HashMap<Box<str>, Instant>>,
}

impl Owners {
    /// Creates the sender of requested lookups, and the task that makes these lookups in the API server. `watched` are
    /// the kinds that already have a watch, as (group, kind).
    pub(super) fn new(
        client: Client,
        kinds: Arc<Kinds>,
        shared: Arc<Shared>,
        watched: impl IntoIterator<Item = (String, String)>,
    ) -> (Self, OwnerResolver) {
        let (sender, lookups) = mpsc::unbounded_channel();
        let resolver = OwnerResolver {
            client,
            kinds,
            shared,
            lookups,
            watched: Mutex::new(watched.into_iter().collect()),
            warned: Mutex::default(),
        };
        (Self(sender), resolver)
    }

    /// Finds the workload of `owner` and passes it to the engine.
    pub(super) fn resolve(&self, namespace: Box<str>, owner: Arc<Owner>) {
        // An error is ignored, because the receiver is gone only at shutdown.
        let _ = self.0.send((namespace, Subject::Owner(owner)));
    }

    /// Checks whether `target` is a workload and passes the result to the engine.
    pub(super) fn confirm(&self, target: TargetKey) {
        let namespace = target.namespace.clone();
        let _ = self.0.send((namespace, Subject::Target(target)));
    }
}

impl OwnerResolver {
    /// Makes the requested lookups until all senders are gone.
    pub(super) async fn run(mut self) {
        let mut queue: Queue<Lookup> = Queue::default();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_A_TIME
                && let Some((namespace, lookup)) = queue.next(Instant::now())
            {
                if !self.is_wanted(&namespace, &lookup.subject) {
                    queue.done(&namespace);
                    continue;
                }
                let (client, kinds) = (self.client.clone(), Arc::clone(&self.kinds));
                under_way.spawn(async move {
                    let answer = ask(&client, &kinds, &namespace, &lookup.subject).await;
                    (namespace, lookup, answer)
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
                asked = self.lookups.recv() => match asked {
                    Some((namespace, subject)) => queue.ask(namespace, Lookup { subject, asked: 0 }),
                    None => return,
                },
                Some(answered) = under_way.join_next() => match answered {
                    Ok((namespace, lookup, answer)) => {
                        queue.done(&namespace);
                        self.take(&mut queue, namespace, lookup, answer);
                    }
                    Err(error) => {
                        warn!(%error, "the task that looks up an object's owner failed");
                        return;
                    }
                },
                () = later => {}
            }
        }
    }

    /// Returns whether the engine still needs the result of a lookup.
    fn is_wanted(&self, namespace: &str, subject: &Subject) -> bool {
        self.shared.with(|engine, _| match subject {
            Subject::Owner(owner) => engine.is_owner(namespace, owner),
            Subject::Target(target) => engine.is_named_by_slice(target),
        })
    }

    /// Passes the result of a lookup to the engine, and schedules the lookup again if its result may change.
    fn take(
        &self,
        queue: &mut Queue<Lookup>,
        namespace: Box<str>,
        mut lookup: Lookup,
        answer: Result<OwnerChain, Failure>,
    ) {
        let now = Instant::now();
        lookup.asked = lookup.asked.saturating_add(1);
        let chain = match answer {
            Ok(chain) => chain,
            Err(error) => {
                if lookup.asked == 1 {
                    self.warn(&namespace, &lookup.subject, &error);
                }
                let wait = RETRY * 2_u32.saturating_pow(lookup.asked.min(8) - 1);
                return queue.ask_at(now + wait.min(LONGEST_RETRY), namespace, lookup);
            }
        };
        if let Some((key, kind)) = chain.best() {
            self.watch(key, kind);
        }
        debug!(%namespace, subject = ?lookup.subject, followed = ?chain.resolution(), "owner followed");
        self.shared.with(|engine, at| match &lookup.subject {
            Subject::Owner(owner) => {
                engine.owner_resolved(at, &namespace, owner, chain.resolution());
            }
            Subject::Target(target) => engine.confirmed(at, target, chain.resolution()),
        });
        match chain.end() {
            // The lookup is not repeated: the last object of the chain has no owner, and an object's owner does not
            // change.
            None | Some(NoTargetReason::NotScalable) => {}
            Some(NoTargetReason::UnknownKind) if lookup.asked >= TRIES_OF_UNKNOWN_KINDS => {}
            Some(_) => queue.ask_again(now, AGAIN, namespace, lookup),
        }
    }

    /// Logs a failure. A namespace gets one warning a minute, because it may have thousands of owners.
    fn warn(&self, namespace: &str, subject: &Subject, error: &Failure) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|_, at| at.elapsed() < BETWEEN_WARNINGS);
        if warned.contains_key(namespace) {
            debug!(namespace, ?subject, %error, "cannot look up the owner of an object; trying again");
            return;
        }
        warned.insert(namespace.into(), Instant::now());
        warn!(
            namespace,
            ?subject,
            %error,
            "cannot look up the owner of an object; trying again (for a minute, further failures in this namespace \
             are logged at level debug)"
        );
    }

    /// Starts a watch of this kind, if the kind is not watched yet.
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
) -> Result<OwnerChain, Failure> {
    match subject {
        Subject::Owner(owner) => climb::from_owner(client, kinds, namespace, owner).await,
        Subject::Target(target) => climb::from_object(client, kinds, target).await,
    }
}
