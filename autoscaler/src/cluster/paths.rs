//! Has the leader's records and slices written: which ports are whose, and who is in the path of which Service.
//!
//! Looked at once a second, and at once when something changes that they depend on. Bias: what could not be written is
//! looked at anew, never queued, so that an API server that was away gets what is wanted by then. Failure mode: while it
//! is away traffic goes the way it went.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use kube::{Client, Error};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{allotments, leadership::Leadership, shared::Shared, slices};
use crate::engine::{Outcome, Path};

/// Activators fall silent without anybody telling.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Not more often than this, however much changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Nor more of the time than one part in so many: others want the engine too.
const SHARE: u32 = 10;
/// Records and slices written at a time.
const AT_A_TIME: usize = 16;
/// An answer is waited for this long; see the writer of scales.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The same complaint is logged once in this time.
const LOGGED_AGAIN: Duration = Duration::from_secs(60);

/// Writes records and slices whenever this replica leads, for ever. `client` writes only then: it checks each write as it
/// goes out. `namespace`: where the records are.
pub(super) async fn run(
    client: Client,
    namespace: String,
    shared: Arc<Shared>,
    leadership: Arc<Leadership>,
) {
    let mut complained: Option<Instant> = None;
    loop {
        let _ = time::timeout(LOOK_AGAIN, shared.paths.notified()).await;
        let mut took = Duration::ZERO;
        if leadership.leads() {
            let began = Instant::now();
            let paths = shared.with(|engine, now| engine.paths(now));
            took = began.elapsed();
            let written = stream::iter(paths)
                .map(|path| one(&client, &namespace, &shared, path))
                .buffer_unordered(AT_A_TIME);
            let failures: Vec<_> = written
                .filter_map(|failed| async { failed })
                .collect()
                .await;
            if let Some(first) = failures.first()
                && complained.is_none_or(|at| at.elapsed() > LOGGED_AGAIN)
            {
                warn!(
                    failed = failures.len(),
                    "records of ports or EndpointSlices cannot be written, trying again: {first}"
                );
                complained = Some(Instant::now());
            }
        }
        time::sleep(BETWEEN_LOOKS.max(took * SHARE)).await;
    }
}

/// Does one, and tells the engine what came of it; why it was not done, if it was not.
async fn one(client: &Client, own: &str, shared: &Shared, path: Path) -> Option<String> {
    let client = client.clone();
    let done = async {
        match &path {
            Path::Record(change) => allotments::write(client, own, change).await,
            Path::Write(wish, written) => slices::apply(client, wish, written).await.map(|()| None),
            Path::Remove { namespace, service } => slices::remove(client, namespace, service)
                .await
                .map(|()| None),
        }
    };
    let (outcome, failure) = match time::timeout(TIMEOUT, done).await {
        Ok(Ok(version)) => (Outcome::Done(version.map(Into::into)), None),
        Ok(Err(error)) => (outcome(&error), Some(error.to_string())),
        Err(_) => (
            Outcome::Unanswered,
            Some(format!("no answer from the API server within {TIMEOUT:?}")),
        ),
    };
    shared.with(|engine, now| engine.path_done(now, &path, &outcome));
    let what = what(&path);
    match failure {
        None => {
            info!("{what}");
            None
        }
        Some(failure) => Some(format!("{what}: {failure}")),
    }
}

/// What an error says of the write.
fn outcome(error: &Error) -> Outcome {
    /// Cause of a refusal in a namespace that is about to go (`NamespaceTerminatingCause` of `k8s.io/api/core/v1`).
    const TERMINATING: &str = "NamespaceTerminating";
    let Error::Api(status) = error else {
        return Outcome::Unanswered;
    };
    let causes = status.details.as_ref().map(|details| &details.causes);
    Outcome::Refused {
        why: status.message.clone(),
        terminating: causes
            .into_iter()
            .flatten()
            .any(|cause| cause.reason == TERMINATING)
            // Before Kubernetes 1.17 there was no such cause.
            || status.message.contains("because it is being terminated"),
    }
}

/// A write, in words.
fn what(path: &Path) -> String {
    match path {
        Path::Record(change) => {
            let services = change.changes.len();
            format!(
                "ports of {services} Services of namespace {} recorded",
                change.namespace
            )
        }
        Path::Write(wish, written) => {
            let activators = written.endpoints.len();
            let namespace = &wish.workload.namespace;
            format!(
                "EndpointSlice of Service {namespace}/{} written, {activators} activators in it",
                wish.service
            )
        }
        Path::Remove { namespace, service } => {
            format!("EndpointSlice of Service {namespace}/{service} removed")
        }
    }
}
