//! Has the leader's slices written: who is in the path of which Service.
//!
//! Looked at once a second, and at once when something changes that they depend on. Bias: what could not be written is
//! looked at anew, never queued, so that an API server that was away gets what is wanted by then. Failure mode: while it
//! is away traffic goes the way it went.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use kube::{Client, Error};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use super::{leadership::Leadership, shared::Shared, slices};
use crate::engine::Path;

/// Activators fall silent without anybody telling.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Not more often than this, however much changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Nor more of the time than one part in so many: others want the engine too.
const SHARE: u32 = 10;
/// Slices written at a time.
const AT_A_TIME: usize = 16;
/// An answer is waited for this long; see the writer of scales.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The same complaint is logged once in this time.
const LOGGED_AGAIN: Duration = Duration::from_secs(60);

/// Why a slice was not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Refused(#[from] Error),
    #[error("no answer from the API server within {TIMEOUT:?}")]
    Timeout,
}

/// Writes slices whenever this replica leads, for ever. `client` writes only then: it checks each write as it goes out.
pub(super) async fn run(client: Client, shared: Arc<Shared>, leadership: Arc<Leadership>) {
    let mut complained: Option<Instant> = None;
    loop {
        let _ = time::timeout(LOOK_AGAIN, shared.paths.notified()).await;
        let mut took = Duration::ZERO;
        if leadership.leads() {
            let began = Instant::now();
            let paths = shared.with(|engine, now| engine.paths(now));
            took = began.elapsed();
            let written = stream::iter(paths)
                .map(|path| one(&client, &shared, path))
                .buffer_unordered(AT_A_TIME);
            let failures: Vec<_> = written
                .filter_map(|failed| async { failed })
                .collect()
                .await;
            if let Some(first) = failures.first()
                && complained.is_none_or(|at| at.elapsed() > LOGGED_AGAIN)
            {
                warn!(
                    slices = failures.len(),
                    "slices cannot be written, trying again: {first}"
                );
                complained = Some(Instant::now());
            }
        }
        time::sleep(BETWEEN_LOOKS.max(took * SHARE)).await;
    }
}

/// Does one; why not, if not.
async fn one(client: &Client, shared: &Shared, path: Path) -> Option<String> {
    let (namespace, service) = match &path {
        Path::Write(wish, _) => (
            wish.workload.namespace.clone(),
            wish.service.as_str().into(),
        ),
        Path::Remove { namespace, service } => (namespace.clone(), service.clone()),
    };
    let done = async {
        match &path {
            Path::Write(wish, written) => slices::apply(client.clone(), wish, written).await,
            Path::Remove { namespace, service } => {
                slices::remove(client.clone(), namespace, service).await
            }
        }
    };
    let result = match time::timeout(TIMEOUT, done).await {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::Timeout),
    };
    match (result, &path) {
        (Ok(()), Path::Write(_, written)) => {
            info!(%namespace, %service, activators = written.endpoints.len(), "slice written");
            None
        }
        (Ok(()), Path::Remove { .. }) => {
            info!(%namespace, %service, "slice removed");
            None
        }
        (Err(failure), _) => {
            shared.with(|engine, _| engine.slice_failed(&namespace, &service));
            Some(format!("{namespace}/{service}: {failure}"))
        }
    }
}
