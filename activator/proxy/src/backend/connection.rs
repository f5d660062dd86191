//! A connection to a backend, in use by one request.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::streams::Stream;
use crate::replayable_body::ReplayableBody;
use crate::socket::Socket;

/// Total time limit of all attempts to connect to a backend.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit of the first connection attempt; each further attempt has twice the time. New attempts are needed,
/// because the kernel repeats a SYN only after 1 s, but a listening socket whose queue was full has room much earlier.
const CONNECT_AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Timeout(#[from] Elapsed),
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    #[error("cannot begin http: {0}")]
    Handshake(#[from] hyper::Error),
}

/// The connection that a request is sent on.
#[derive(Debug)]
pub(crate) enum Connection {
    /// An HTTP/1.1 connection, used by this request alone.
    Http1(Http1),
    /// One stream of an HTTP/2 connection, which is shared with other requests.
    Http2(Stream),
}

impl Connection {
    /// Sends a request. If the error contains the request, the request has not been sent.
    pub(crate) async fn try_send(
        &mut self,
        request: Request<ReplayableBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<ReplayableBody>>> {
        match self {
            Connection::Http1(connection) => connection.sender.try_send_request(request).await,
            Connection::Http2(stream) => stream.try_send(request).await,
        }
    }

    /// Resolves when the backend has acknowledged data on this connection. Until then it is unknown whether the backend
    /// has accepted the connection: if a listening socket's queue is full, Linux reports the connection as established
    /// to the client.
    pub(crate) fn taken(&self) -> impl Future<Output = ()> + use<> {
        let socket = match self {
            Connection::Http1(connection) => Some(connection.socket.clone()),
            // Many requests share an HTTP/2 connection, so the proxy does not wait until the backend has accepted it.
            Connection::Http2(_) => None,
        };
        async move {
            if let Some(socket) = socket {
                socket.is_taken().await;
            }
        }
    }

    /// Returns the number of bytes that were written to this connection before the request. Must be called before the
    /// request is sent.
    pub(crate) fn mark(&self) -> u64 {
        match self {
            Connection::Http1(connection) => connection.socket.written(),
            Connection::Http2(_) => 0,
        }
    }

    /// Returns whether the backend has certainly seen no byte of a request. `mark` is the number of bytes written
    /// before the request, and `error` is the error of the failed request.
    pub(crate) fn saw_nothing(&self, mark: u64, error: &hyper::Error) -> bool {
        match self {
            Connection::Http1(connection) => connection.socket.ended_before(mark),
            Connection::Http2(_) => was_refused(error),
        }
    }
}

/// Returns whether the server has not processed the stream (RFC 9113 section 8.7): it refused the stream, or the
/// stream's number is above the last stream in the server's GOAWAY.
fn was_refused(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|error| {
            error.is_remote()
                && match error.reason() {
                    Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
                    Some(h2::Reason::NO_ERROR) => error.is_go_away(),
                    _ => false,
                }
        })
}

/// An HTTP/1.1 connection, which can be checked before it is used for another request.
#[derive(Debug)]
pub(crate) struct Http1 {
    sender: SendRequest<ReplayableBody>,
    socket: Socket,
}

impl Http1 {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, ConnectError> {
        let socket = Socket::new(connect(address).await?);
        let (sender, driver) = http1::handshake(TokioIo::new(socket.clone())).await?;
        tokio::spawn(async move {
            if let Err(error) = driver.with_upgrades().await {
                tracing::debug!(%address, %error, "connection to a backend ended");
            }
        });
        Ok(Http1 { sender, socket })
    }

    /// Returns whether hyper has read the end of the previous response and waits for a request.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Returns whether hyper knows that the connection is closed.
    pub(super) fn is_over(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns whether either side has closed the connection, even if hyper has not read the end yet.
    pub(super) fn is_closed(&self) -> bool {
        self.is_over() || self.socket.is_closed_by_peer()
    }
}

pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let end = Instant::now() + CONNECT_TIMEOUT;
    let mut patience = CONNECT_AGAIN;
    loop {
        let last = Instant::now() + patience >= end;
        let until = if last { end } else { Instant::now() + patience };
        match timeout_at(until, TcpStream::connect(address)).await {
            Ok(stream) => {
                let stream = stream?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(elapsed) if last => return Err(elapsed.into()),
            Err(_) => patience *= 2,
        }
    }
}
