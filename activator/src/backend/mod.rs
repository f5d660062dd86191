//! One backend: how many requests it has, and whether it takes more.

mod connection;
mod spare;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(crate) use self::connection::{ConnectError, Connection};
use self::spare::Spare;

/// Counting is ordered by the pool's lock, so every access here can be relaxed.
const COUNTED_UNDER_THE_LOCK: Ordering = Ordering::Relaxed;

#[derive(Debug)]
pub(crate) struct Backend {
    id: u64,
    address: SocketAddr,
    in_flight: AtomicUsize,
    aside: AtomicBool,
    closed: AtomicBool,
    spare: Arc<Spare>,
}

impl Backend {
    pub(crate) fn new(id: u64, address: SocketAddr) -> Self {
        Backend {
            id,
            address,
            in_flight: AtomicUsize::new(0),
            aside: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            spare: Arc::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(COUNTED_UNDER_THE_LOCK)
    }

    /// Counts one request more.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, COUNTED_UNDER_THE_LOCK);
    }

    /// Counts one request less, and says how many are left.
    pub(crate) fn end(&self) -> usize {
        self.in_flight.fetch_sub(1, COUNTED_UNDER_THE_LOCK) - 1
    }

    /// False when it was aside already.
    pub(crate) fn set_aside(&self) -> bool {
        !self.aside.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn take_back(&self) {
        self.aside.store(false, Ordering::Release);
    }

    pub(crate) fn is_aside(&self) -> bool {
        self.aside.load(Ordering::Acquire)
    }

    /// It leaves: its spare connections are closed, and no more are kept.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.spare.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A connection that was kept and is fit for a request.
    pub(crate) fn spare_connection(&self) -> Option<Connection> {
        self.spare.take()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Connection, ConnectError> {
        Connection::open(self.address).await
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        self.spare.keep(connection);
    }
}
