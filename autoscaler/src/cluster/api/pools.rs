//! The pool of connections in use, and its successor.
//!
//! A connection that froze looks like any other idle one until something is asked over it. A pool may hold dozens of
//! them, and each would cost a time limit of its own. So one that disappoints condemns all that are idle: requests
//! under way go on, every later one finds a new pool.

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

use super::body::Outgoing;

/// Sends a request over a connection of one pool.
pub(super) type Send = Arc<dyn Fn(Request<Outgoing>) -> ResponseFuture + std::marker::Send + Sync>;

/// An idle connection is closed after this time: less than load balancers in front of API servers wait (60 s at the
/// least), which forget connections without a word.
const IDLE: Duration = Duration::from_secs(30);

/// Whoever gives up waiting after less than this has no complaint about the connection.
const DOUBTFUL_AFTER: Duration = Duration::from_secs(1);

/// The pool in use.
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

    /// The pool in use, and its number.
    pub(super) fn current(&self) -> (u64, Send) {
        let current = self.lock();
        (current.0, Arc::clone(&current.1))
    }

    /// Begins another pool, if that one is still in use.
    pub(super) fn replace(&self, number: u64) {
        let mut current = self.lock();
        if current.0 == number {
            debug!("no answer from the API server in time: new connections from now on");
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

/// Somebody waits for the API server. If this is dropped before it came to an end, and after a while, the connections
/// are replaced: a time limit further up has been reached.
#[derive(Debug)]
pub(super) struct Waiting {
    pools: Arc<Pools>,
    number: u64,
    /// Since when nothing has been heard; `None`: it came to an end.
    since: Option<Instant>,
}

impl Waiting {
    pub(super) fn new(pools: Arc<Pools>, number: u64) -> Self {
        Self {
            pools,
            number,
            since: Some(Instant::now()),
        }
    }

    /// Something was heard.
    pub(super) fn heard(&mut self) {
        self.since = Some(Instant::now());
    }

    /// There is nothing to wait for any more.
    pub(super) fn over(&mut self) {
        self.since = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self
            .since
            .is_some_and(|since| since.elapsed() >= DOUBTFUL_AFTER)
        {
            self.pools.replace(self.number);
        }
    }
}
