//! The leader writes the records of ports and the EndpointSlices: which Service has which activator ports, and which
//! activators are in the request path of a Service.
//!
//! A round of writes runs once a second, and at once if anything changes that a record or slice depends on. Bias: after
//! a failed write, the desired state is computed again. Writes are never queued, so an API server that was unavailable
//! receives the current desired state. Failure mode: while the API server is unavailable, traffic keeps its path.

use std::{sync::Arc, time::Duration};

use ebb_engine::{Outcome, Path};
use futures_util::{StreamExt as _, stream};
use kube::{Client, Error};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{allotments, leadership::Leadership, shared::Shared, slices};

/// Longest wait between two rounds of writes. Regular rounds are necessary, because an activator that stops reporting
/// does not trigger a round.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Shortest wait between two rounds of writes, even if changes arrive faster.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Minimum wait after a round of writes, as a multiple of the time for which the round locked the engine. Other tasks
/// need the engine too.
const SHARE: u32 = 10;
/// Maximum number of port records and EndpointSlices that are written at the same time.
const AT_A_TIME: usize = 16;
/// Time limit of a write, as for the writes of scales (`leadership::WRITE_WITHIN`).
const TIMEOUT: Duration = Duration::from_secs(3);
/// Minimum time between two log messages about failed writes.
const LOGGED_AGAIN: Duration = Duration::from_secs(60);

/// Writes records and slices while this replica leads, without end. `client` checks the leadership before it sends a
/// write, and refuses a write of a replica that does not lead. The records are in `namespace`.
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

/// Writes one record or slice and passes the outcome to the engine; returns the failure, if any.
async fn one(client: &Client, own: &str, shared: &Shared, path: Path) -> Option<String> {
    let client = client.clone();
    let done = async {
        match &path {
            Path::Record(change) => allotments::write(client, own, change).await,
            Path::Write(desired, written) => {
                slices::apply(client, desired, written).await.map(|()| None)
            }
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

/// Converts an error into the outcome of the write.
fn outcome(error: &Error) -> Outcome {
    /// The API server's cause for a refusal in a namespace that is being deleted (`NamespaceTerminatingCause` of
    /// `k8s.io/api/core/v1`).
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
            // Kubernetes before 1.17 does not set the cause `NamespaceTerminating`, so the text of the message is
            // checked too.
            || status.message.contains("because it is being terminated"),
    }
}

/// Describes a write for the log.
fn what(path: &Path) -> String {
    match path {
        Path::Record(change) => {
            let services = change.changes.len();
            format!(
                "ports of {services} Services of namespace {} recorded",
                change.namespace
            )
        }
        Path::Write(desired, written) => {
            let activators = written.endpoints.len();
            let namespace = &desired.workload.namespace;
            format!(
                "EndpointSlice of Service {namespace}/{} written, {activators} activators in it",
                desired.service
            )
        }
        Path::Remove { namespace, service } => {
            format!("EndpointSlice of Service {namespace}/{service} removed")
        }
    }
}
