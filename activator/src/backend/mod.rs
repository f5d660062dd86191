//! One backend: how many requests it has, and whether it takes more.

mod connection;
mod spare;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::OnceCell;

use self::connection::Http1;
pub(crate) use self::connection::{ConnectError, Connection};
use self::spare::Spare;
use self::streams::Streams;
use crate::protocol::{Protocol, speaks_http2};

/// Counting is ordered by the pool's lock, so every access here can be relaxed.
const COUNTED_UNDER_THE_LOCK: Ordering = Ordering::Relaxed;

/// Connections that a backend is asked to take at a time. What comes faster than it accepts waits in its listening socket's
/// queue, which can be short (Python's `http.server` has room for 6); the kernel there drops what finds no room, and the one
/// here tries again after 0.2, 0.4, 0.8 … seconds, while other backends may be idle. So the others wait here.
const OPENING: usize = 4;

#[derive(Debug)]
pub(crate) struct Backend {
    id: u64,
    address: SocketAddr,
    in_flight: AtomicUsize,
    /// Of those, requests for which it may have to take a connection, and has not yet.
    opening: AtomicUsize,
    aside: AtomicBool,
    closed: AtomicBool,
    protocol: Protocol,
    /// Whether it was found to speak HTTP/2.
    detected: OnceCell<bool>,
    spare: Arc<Spare>,
    streams: Streams,
}

/// What a request's client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It speaks HTTP/1.
    Http1,
    /// It speaks HTTP/2.
    Http2,
    /// An upgrade, which there is in HTTP/1.1 only.
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
            spare: Arc::default(),
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

    /// Whether it has time for one more connection.
    pub(crate) fn can_open(&self) -> bool {
        self.opening.load(COUNTED_UNDER_THE_LOCK) < OPENING
    }

    /// Counts one request more, for which it may have to take a connection.
    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, COUNTED_UNDER_THE_LOCK);
        self.opening.fetch_add(1, COUNTED_UNDER_THE_LOCK);
    }

    /// A request has its connection, or will never have one.
    pub(crate) fn opened(&self) {
        self.opening.fetch_sub(1, COUNTED_UNDER_THE_LOCK);
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
        self.streams.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a request with this wish is to be sent as HTTP/2.
    ///
    /// # Errors
    /// It had to be asked, and takes no connection.
    pub(crate) async fn wants_http2(&self, wish: Wish) -> Result<bool, ConnectError> {
        match (self.protocol, wish) {
            (_, Wish::Upgrade) | (Protocol::Http1, _) | (Protocol::Detect, Wish::Http1) => {
                Ok(false)
            }
            (Protocol::Http2, _) => Ok(true),
            (Protocol::Detect, Wish::Http2) => {
                let ask = || async { speaks_http2(self.address).await };
                Ok(*self.detected.get_or_try_init(ask).await?)
            }
        }
    }

    /// A connection for one request, and whether it is new: a kept one, unless `only_new`.
    pub(crate) async fn connection(
        &self,
        http2: bool,
        only_new: bool,
    ) -> Result<(Connection, bool), ConnectError> {
        if http2 {
            let (stream, is_new) = self.streams.take(self.address).await?;
            return Ok((Connection::Http2(stream), is_new));
        }
        match self.spare.take().filter(|_| !only_new) {
            Some(kept) => Ok((Connection::Http1(kept), false)),
            None => Ok((Connection::Http1(Http1::open(self.address).await?), true)),
        }
    }

    /// Whether it takes connections; one that it took is kept for the next request.
    pub(crate) async fn try_connect(&self) -> Result<(), ConnectError> {
        self.spare.keep(Http1::open(self.address).await?);
        Ok(())
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        // A stream's end is its connection's own affair.
        if let Connection::Http1(connection) = connection {
            self.spare.keep(connection);
        }
    }
}
