//! The connections kept for the next requests.
//!
//! The classic race of a kept connection is that its server closes it just as a request is sent.
//! Three things stand against it: a connection is kept for less time than any server in common
//! use keeps it; right before it is used the socket is asked whether the other end has closed;
//! and the newest is used first, so that those to spare grow old and go.
//!
//! What is left is a server that closes within the microseconds between that question and the send.
//! Its end then says that it had not seen the request (see [`Socket::ended_before`]), which goes
//! again on a new connection. Failure mode: a server that resets instead; a request that is not safe
//! to send twice is then answered with 502.
//!
//! [`Socket::ended_before`]: crate::socket::Socket::ended_before

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::Http1;

/// How long a connection is kept: less than the shortest time-out of a server in common use
/// (gunicorn's 2 s), by a margin that a busy machine does not eat up. A connect costs 0.1 ms.
const KEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Spare {
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    /// Each with when it was kept, oldest first.
    connections: Vec<(Instant, Http1)>,
    /// A task is there to close the ones that grow old.
    swept: bool,
    /// No more are kept.
    closed: bool,
}

impl Spare {
    /// The newest that is fit for a request.
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

    /// Drops the connection instead where it is of no more use.
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

    /// Closes all there are, and keeps no more.
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

/// Closes connections that grow old, as long as there are any.
async fn sweep(spare: Weak<Spare>) {
    loop {
        sleep(KEEP).await;
        let Some(spare) = spare.upgrade() else { return };
        let now = Instant::now();
        let mut list = spare.lock();
        list.connections
            .retain(|(kept, connection)| !is_over(*kept, connection, now));
        if list.connections.is_empty() {
            list.swept = false;
            return;
        }
    }
}
