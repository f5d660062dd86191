//! The connection pool in use, and its replacement.
//!
//! A frozen connection cannot be distinguished from a healthy idle one until a request is sent over it. A pool may
//! contain dozens of frozen connections, and on each of them a request would wait for its time limit. So after one
//! unanswered request, all idle connections are given up: requests under way continue, and every later request uses a
//! new pool.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hyper::Request;
use hyper_util::{
    client::legacy::{Builder, ResponseFuture, connect::Connect},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::Instant;
use tracing::debug;

use super::body::CheckedBody;

/// Sends a request over a connection of one pool.
pub(super) type Send =
    Arc<dyn Fn(Request<CheckedBody>) -> ResponseFuture + std::marker::Send + Sync>;

/// Lifetime of an idle connection. It is shorter than the idle timeout of load balancers in front of API servers (60 s
/// or more), which drop connections without a message.
const IDLE: Duration = Duration::from_secs(30);

/// If a request to the API server is cancelled, it counts as unanswered only if nothing has arrived for at least this
/// time. After a shorter wait, the connection pool is not replaced.
const DOUBTFUL_AFTER: Duration = Duration::from_secs(1);

/// The connection pool in use, and the function that creates a new pool.
pub(super) struct Pools {
    make: Box<dyn Fn() -> Send + std::marker::Send + Sync>,
    current: Mutex<(u64, Send)>,
}

impl Pools {
    pub(super) fn new<C>(connector: C) -> Self
    where
        C: Connect + Clone + std::marker::Send + Sync + 'static,
    {
        let make = move || -> Send {
            let client = Builder::new(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector.clone());
            Arc::new(move |request| client.request(request))
        };
        let first = make();
        Self {
            make: Box::new(make),
            current: Mutex::new((0, first)),
        }
    }

    /// Returns the connection pool in use, as (its number, the pool).
    pub(super) fn current(&self) -> (u64, Send) {
        let current = self.lock();
        (current.0, Arc::clone(&current.1))
    }

    /// If the connection pool with this number is still in use, replaces it by a new pool.
    pub(super) fn replace(&self, number: u64) {
        let mut current = self.lock();
        if current.0 == number {
            debug!("no answer from the API server in time; later requests use new connections");
            *current = (number + 1, (self.make)());
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, Send)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

/// A request whose answer from the API server is not complete. When the caller reaches its time limit, it drops this
/// value. If nothing has arrived for `DOUBTFUL_AFTER` by then, the connection pool is replaced.
#[derive(Debug)]
pub(super) struct PendingRequest {
    pools: Arc<Pools>,
    number: u64,
    /// Time at which the last part of the answer arrived, or at which the request was sent if nothing has arrived;
    /// `None` if the request is over.
    since: Option<Instant>,
}

impl PendingRequest {
    pub(super) fn new(pools: Arc<Pools>, number: u64) -> Self {
        Self {
            pools,
            number,
            since: Some(Instant::now()),
        }
    }

    /// Records that a part of the API server's answer has arrived.
    pub(super) fn progressed(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Records that the request is over.
    pub(super) fn over(&mut self) {
        self.since = None;
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if self
            .since
            .is_some_and(|since| since.elapsed() >= DOUBTFUL_AFTER)
        {
            self.pools.replace(self.number);
        }
    }
}
