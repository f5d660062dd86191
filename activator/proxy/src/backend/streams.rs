//! The HTTP/2 connections to one backend, and the streams on them.
//!
//! A request uses a stream on an open connection that has room for another stream. If no connection has room, a new
//! connection is opened. Only one connection is opened at a time, so that a thousand concurrent requests do not open a
//! thousand connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::connection::{ConnectError, connect};
use crate::replayable_body::ReplayableBody;

/// Maximum number of streams on one connection. RFC 9113 section 6.5.2 recommends servers to allow at least 100. If a
/// server allows fewer, the other streams wait inside hyper.
const MOST_STREAMS: usize = 100;

#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<Vec<SharedSender>>,
    opening: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct SharedSender {
    sender: SendRequest<ReplayableBody>,
    streams: Arc<AtomicUsize>,
}

/// The right to use one stream of a connection.
#[derive(Debug)]
pub(crate) struct Stream {
    sender: SendRequest<ReplayableBody>,
    streams: Arc<AtomicUsize>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    pub(super) async fn try_send(
        &mut self,
        request: Request<ReplayableBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<ReplayableBody>>> {
        self.sender.try_send_request(request).await
    }
}

impl Streams {
    /// Returns the right to use one stream of a connection to `address`, and whether the connection is new.
    pub(super) async fn take(&self, address: SocketAddr) -> Result<(Stream, bool), ConnectError> {
        if let Some(stream) = self.on_an_open_one() {
            return Ok((stream, false));
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(stream) = self.on_an_open_one() {
            return Ok((stream, false));
        }
        let io = TokioIo::new(connect(address).await?);
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(io)
            .await?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%address, %error, "connection to a backend ended");
            }
        });
        let shared = SharedSender {
            sender,
            streams: Arc::default(),
        };
        let stream = shared.stream();
        self.lock().push(shared);
        Ok((stream, true))
    }

    /// Opens no more streams on the open connections. Each connection ends after its last stream.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn on_an_open_one(&self) -> Option<Stream> {
        let mut open = self.lock();
        open.retain(|shared| !shared.sender.is_closed());
        open.iter()
            .find(|shared| shared.streams.load(Ordering::Relaxed) < MOST_STREAMS)
            .map(SharedSender::stream)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SharedSender>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedSender {
    fn stream(&self) -> Stream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Stream {
            sender: self.sender.clone(),
            streams: Arc::clone(&self.streams),
        }
    }
}
