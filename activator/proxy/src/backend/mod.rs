//! One backend: its requests in flight, and whether it accepts more.

mod connection;
mod idle;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::OnceCell;

use self::connection::Http1;
pub(crate) use self::connection::{ConnectError, Connection};
use self::idle::IdleConnections;
use self::streams::Streams;
use crate::protocol::{Protocol, speaks_http2};

/// Memory ordering of all counter accesses. The accesses happen under the pool's lock, so relaxed ordering is enough.
const COUNTED_UNDER_THE_LOCK: Ordering = Ordering::Relaxed;

/// Maximum number of concurrent connection attempts to one backend; further requests wait in the pool. Connections that
/// a backend has not accepted yet wait in the queue of its listening socket, which can be short (Python's `http.server`
/// has room for 6). The backend's kernel drops connections that find no room in the queue. The proxy's kernel tries
/// again after 0.2, 0.4, 0.8 … seconds, while other backends may be idle.
const OPENING: usize = 4;

#[derive(Debug)]
pub(crate) struct Backend {
    id: u64,
    address: SocketAddr,
    in_flight: AtomicUsize,
    /// Number of requests in flight that have no connection yet and may need a new connection.
    opening: AtomicUsize,
    aside: AtomicBool,
    closed: AtomicBool,
    protocol: Protocol,
    /// True if the backend speaks HTTP/2; empty until the protocol has been detected.
    detected: OnceCell<bool>,
    idle: Arc<IdleConnections>,
    streams: Streams,
}

/// The protocol that a request's client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientProtocol {
    /// The client speaks HTTP/1.
    Http1,
    /// The client speaks HTTP/2.
    Http2,
    /// The client requests an upgrade, which exists in HTTP/1.1 only.
    Upgrade,
}

impl Backend {
    pub(crate) fn new(id: u64, address: SocketAddr, protocol: Protocol) -> Self {
        Backend {
            id,
            address,
            in_flight: AtomicUsize::new(0),
            opening: AtomicUsize::new(0),
            aside: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            protocol,
            detected: OnceCell::new(),
            idle: Arc::default(),
            streams: Streams::default(),
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

    /// Returns whether the limit [`OPENING`] allows one more connection attempt to this backend.
    pub(crate) fn can_open(&self) -> bool {
        self.opening.load(COUNTED_UNDER_THE_LOCK) < OPENING
    }

    /// Counts one more request in flight. The request is also counted as one that may need a new connection.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, COUNTED_UNDER_THE_LOCK);
        self.opening.fetch_add(1, COUNTED_UNDER_THE_LOCK);
    }

    /// Subtracts a request from those that may need a new connection: it has a connection, or it ended without one.
    pub(crate) fn opened(&self) {
        self.opening.fetch_sub(1, COUNTED_UNDER_THE_LOCK);
    }

    /// Subtracts a request that has ended. Returns the number of requests still in flight.
    pub(crate) fn end(&self) -> usize {
        self.in_flight.fetch_sub(1, COUNTED_UNDER_THE_LOCK) - 1
    }

    /// Sets the backend aside: it gets no requests until [`Backend::take_back`]. Returns false if it was already set
    /// aside.
    pub(crate) fn set_aside(&self) -> bool {
        !self.aside.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn take_back(&self) {
        self.aside.store(false, Ordering::Release);
    }

    pub(crate) fn is_aside(&self) -> bool {
        self.aside.load(Ordering::Acquire)
    }

    /// Closes the backend's idle connections and keeps no further ones, because the backend has been removed.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.idle.close();
        self.streams.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns whether a request must be sent to this backend as HTTP/2, if its client uses `client_protocol`.
    ///
    /// # Errors
    /// The protocol had to be detected, but the backend accepted no connection.
    pub(crate) async fn wants_http2(
        &self,
        client_protocol: ClientProtocol,
    ) -> Result<bool, ConnectError> {
        match (self.protocol, client_protocol) {
            (_, ClientProtocol::Upgrade)
            | (Protocol::Http1, _)
            | (Protocol::Detect, ClientProtocol::Http1) => Ok(false),
            (Protocol::Http2, _) => Ok(true),
            (Protocol::Detect, ClientProtocol::Http2) => {
                let ask = || async { speaks_http2(self.address).await };
                Ok(*self.detected.get_or_try_init(ask).await?)
            }
        }
    }

    /// Returns a connection for one request, and whether the connection is new. An idle connection is reused unless
    /// `only_new` is set.
    pub(crate) async fn connection(
        &self,
        http2: bool,
        only_new: bool,
    ) -> Result<(Connection, bool), ConnectError> {
        if http2 {
            let (stream, is_new) = self.streams.take(self.address).await?;
            return Ok((Connection::Http2(stream), is_new));
        }
        match self.idle.take().filter(|_| !only_new) {
            Some(kept) => Ok((Connection::Http1(kept), false)),
            None => Ok((Connection::Http1(Http1::open(self.address).await?), true)),
        }
    }

    /// Tries to connect to the backend. Keeps the connection for the next request.
    pub(crate) async fn try_connect(&self) -> Result<(), ConnectError> {
        self.idle.keep(Http1::open(self.address).await?);
        Ok(())
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        // Only an HTTP/1.1 connection is kept here. An HTTP/2 connection remains in `streams`, and only its stream is
        // dropped.
        if let Connection::Http1(connection) = connection {
            self.idle.keep(connection);
        }
    }
}
