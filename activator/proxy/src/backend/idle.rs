//! The idle connections to one backend, kept for the next requests.
//!
//! An idle connection has a known race: the server may close it just when a request is sent. Three measures reduce the
//! race. An idle connection is kept for less time than any server in common use keeps it. Right before a connection is
//! used, the kernel is asked whether the peer has closed it. The newest connection is used first, so that surplus
//! connections grow old and are closed.
//!
//! One case remains: a server closes the connection in the microseconds between the check and the send. The server's
//! FIN then shows that the server has not seen the request (see [`Socket::ended_before`]), and the request is sent
//! again on a new connection. Failure mode: if the server sends a reset instead of a FIN, a request that is not safe to
//! repeat is answered with 502.
//!
//! [`Socket::ended_before`]: crate::socket::Socket::ended_before

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Http1;

/// How long an idle connection is kept. It is less than the shortest time-out of a server in common use (gunicorn's 2
/// s), with a margin for a busy machine. A short time costs little, because a new connection takes only 0.1 ms.
const KEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct IdleConnections {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Each idle connection with the time when it became idle, oldest first.
    connections: Vec<(Instant, Http1)>,
    /// True while a task runs that closes old connections.
    swept: bool,
    /// True after the backend was removed: idle connections are no longer kept.
    closed: bool,
}

impl IdleConnections {
    /// Returns the newest connection that is usable for a request.
    pub(super) fn take(&self) -> Option<Http1> {
        let now = Instant::now();
        let mut list = self.lock();
        for index in (0..list.connections.len()).rev() {
            let (kept, connection) = &list.connections[index];
            if is_over(*kept, connection, now) {
                list.connections.remove(index);
            } else if connection.is_ready() {
                return Some(list.connections.remove(index).1);
            }
        }
        None
    }

    /// Keeps an idle connection, or drops it if it is closed or its backend has been removed.
    pub(super) fn keep(self: &Arc<Self>, connection: Http1) {
        let mut list = self.lock();
        if list.closed || connection.is_over() {
            return;
        }
        list.connections.push((Instant::now(), connection));
        if !list.swept {
            list.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes all idle connections and keeps no further ones.
    pub(super) fn close(&self) {
        let mut list = self.lock();
        list.closed = true;
        list.connections.clear();
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(kept: Instant, connection: &Http1, now: Instant) -> bool {
    now.saturating_duration_since(kept) >= KEEP || connection.is_closed()
}

/// Closes connections that have been idle for too long. Ends when no connection is left.
async fn sweep(idle: Weak<IdleConnections>) {
    loop {
        sleep(KEEP).await;
        let Some(idle) = idle.upgrade() else { return };
        let now = Instant::now();
        let mut list = idle.lock();
        list.connections
            .retain(|(kept, connection)| !is_over(*kept, connection, now));
        if list.connections.is_empty() {
            list.swept = false;
            return;
        }
    }
}
