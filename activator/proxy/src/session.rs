//! One client's connection, from accept to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::join;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::budget::{CONNECTION, Charge};
use crate::counts::Reason;
use crate::forward::forward;
use crate::guard::{self, Flaw, Guarded};
use crate::headers::Client;
use crate::limits::Limits;
use crate::pool::Pool;
use crate::protocol::begins_as_http2;
use crate::reject::reject_connection;
use crate::socket::Socket;
use crate::tunnel::Tunnel;
use crate::unread::{CountingReader, UnreadBytes};

/// The minimum size of hyper's buffer, in bytes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// Maximum number of concurrent requests on one HTTP/2 connection. RFC 9113 section 6.5.2 recommends at least 100.
const STREAMS: u32 = 256;

/// Flow-control window of an HTTP/2 connection: the number of bytes that a client may send before they are read. It is
/// enough for 100 MB/s at a round-trip time of 10 ms.
const WINDOW: u32 = 1 << 20;

/// The response to a header that takes too long (RFC 9110 section 15.5.9). hyper itself would close the connection
/// without a response.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    connection: close\r\n\
    content-type: text/plain; charset=utf-8\r\n\r\n\
    ebb: the header of the request took too long\n";

/// The state that the requests of one connection share.
pub(crate) struct Session {
    pub(crate) pool: Pool,
    pub(crate) socket: Socket,
    /// The client, as it is reported to the backends.
    pub(crate) client: Client,
    pub(crate) guard: Arc<guard::GuardState>,
    /// Counts the bytes of request bodies that have arrived and are not read yet. HTTP/2 only.
    pub(crate) unread: Option<UnreadBytes>,
    /// Number of requests on this connection. HTTP/1 only.
    requests: AtomicU64,
    stopping: watch::Receiver<bool>,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Session {
    /// Resolves when the proxy stops.
    pub(crate) async fn stopping(&self) {
        closing(self.stopping.clone()).await;
    }

    /// Counts the request, and returns the reason if it must not be forwarded. Must be called exactly once for each
    /// request, because the check of the client's bytes (`guard`) identifies a refused request by its number on the
    /// connection.
    pub(crate) fn refusal(&self) -> Option<Flaw> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.guard.refusal(number)
    }

    /// Sets the tunnel that runs after the HTTP part of the connection has ended.
    pub(crate) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn count(&self, reason: Reason) {
        self.pool.counters().refused(reason);
    }
}

/// Resolves when the proxy stops. A dropped sender counts as stopping.
async fn closing(mut stopping: watch::Receiver<bool>) {
    let _gone = stopping.wait_for(|stopping| *stopping).await;
}

/// The HTTP/1 and HTTP/2 settings for client connections.
#[derive(Clone)]
pub(crate) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    max_header: usize,
}

impl Protocols {
    pub(crate) fn new(limits: &Limits) -> Self {
        let max_header = limits.max_header.max(SMALLEST_BUFFER);
        let mut http1 = http1::Builder::new();
        // hyper's buffer can exceed `max_header` by one read. The guard checks the exact limit of the header.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(max_header)
            .max_buf_size(max_header);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            // A client that sends nothing and does not answer a ping is disconnected.
            .keep_alive_interval(limits.header_timeout)
            .max_concurrent_streams(STREAMS)
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .max_header_list_size(u32::try_from(max_header).unwrap_or(u32::MAX));
        Protocols {
            http1,
            http2,
            max_header,
        }
    }
}

/// Serves one connection until it ends. After `stopping`, only requests that have already begun are finished.
pub(crate) async fn run(
    stream: TcpStream,
    address: SocketAddr,
    protocols: Protocols,
    pool: Pool,
    stopping: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%address, %error, "client left before it was served");
    }
    let limit = pool.limits().header_timeout;
    let Some(memory) = pool.limits().memory.take(CONNECTION) else {
        return reject_connection(stream, &pool).await;
    };
    let session = Arc::new(Session {
        pool,
        socket: Socket::new(stream),
        client: Client::new(address.ip(), false),
        guard: Arc::default(),
        unread: None,
        requests: AtomicU64::new(0),
        stopping: stopping.clone(),
        tunnel: Mutex::new(None),
    });
    let speaks_http2 = tokio::select! {
        biased;
        first = timeout(limit, begins_as_http2(&session.socket)) => first,
        () = closing(stopping.clone()) => return,
    };
    match speaks_http2 {
        // The time limit for the header is over. A client that has sent a part of the HTTP/2 preface gets a response. A
        // client that has sent nothing gets no response.
        Err(_) if session.socket.has_unread() => {
            session.count(Reason::HeaderTooSlow);
            session.socket.last_word(REQUEST_TIMEOUT);
            Box::pin(session.socket.linger()).await;
        }
        Err(_) => {}
        Ok(true) => {
            Box::pin(serve_http2(session, &protocols, address, stopping, memory)).await;
        }
        Ok(false) => serve_http1(session, &protocols, address, stopping, memory).await,
    }
}

async fn serve_http1(
    session: Arc<Session>,
    protocols: &Protocols,
    address: SocketAddr,
    stopping: watch::Receiver<bool>,
    memory: Charge,
) {
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(forward(&session, request).await) }
    });
    let guarded = Guarded::new(
        session.socket.clone(),
        protocols.max_header,
        Arc::clone(&session.guard),
        memory,
    );
    let io = TokioIo::new(join(guarded, session.socket.clone()));
    // Boxed, because the future of this function would otherwise contain the connection twice. This would cost memory
    // for every client.
    let mut connection = Box::pin(
        protocols
            .http1
            .serve_connection(io, service)
            .with_upgrades(),
    );
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = closing(stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    drop(connection);
    if let Err(error) = result {
        tracing::debug!(%address, %error, "client connection aborted");
        if error.is_timeout() && session.socket.is_mid_request() {
            session.count(Reason::HeaderTooSlow);
            session.socket.last_word(REQUEST_TIMEOUT);
        }
    }
    if let Some(tunnel) = session.take_tunnel() {
        Box::pin(tunnel.run()).await;
    } else if session.guard.has_refused() {
        Box::pin(session.socket.linger()).await;
    }
}

async fn serve_http2(
    mut session: Arc<Session>,
    protocols: &Protocols,
    address: SocketAddr,
    stopping: watch::Receiver<bool>,
    memory: Charge,
) {
    let unread = UnreadBytes::new(memory, CONNECTION);
    // No other task has this `Arc` yet, so `get_mut` succeeds.
    if let Some(session) = Arc::get_mut(&mut session) {
        session.unread = Some(unread.clone());
    }
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(forward(&session, request).await) }
    });
    let reader = CountingReader::new(session.socket.clone(), unread);
    let io = TokioIo::new(join(reader, session.socket.clone()));
    let mut connection = pin!(protocols.http2.serve_connection(io, service));
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = closing(stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "client connection aborted");
    }
}
