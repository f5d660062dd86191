//! One client's connection, from accept to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::forward::forward;
use crate::limits::Limits;
use crate::pool::Pool;
use crate::socket::Socket;
use crate::tunnel::Tunnel;

/// The smallest buffer that hyper takes.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// hyper closes without a word when a header takes too long; RFC 9110 section 15.5.9 has one.
const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    connection: close\r\n\
    content-type: text/plain; charset=utf-8\r\n\r\n\
    ebb: the header of the request took too long\n";

/// What the requests of one connection share.
pub(crate) struct Session {
    pub(crate) pool: Pool,
    pub(crate) socket: Socket,
    /// The client's address, as `X-Forwarded-For` names it.
    pub(crate) client: HeaderValue,
    stopping: watch::Receiver<bool>,
    tunnel: Mutex<Option<Tunnel>>,
}

impl Session {
    /// Resolves when the door closes.
    pub(crate) async fn stopping(&self) {
        closing(self.stopping.clone()).await;
    }

    /// What is to run when the connection has ended as HTTP.
    pub(crate) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Resolves when the door closes, or is gone altogether, which is the error here.
async fn closing(mut stopping: watch::Receiver<bool>) {
    let _gone = stopping.wait_for(|stopping| *stopping).await;
}

/// How every connection is served.
pub(crate) fn protocol(limits: &Limits) -> http1::Builder {
    let max_header = limits.max_header.max(SMALLEST_BUFFER);
    let mut http = http1::Builder::new();
    // The buffer's bound is loose, as it grows by what one read brings; the header's is exact.
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(max_header)
        .max_buf_size(max_header);
    http
}

/// Serves one connection to its end; `stopping` lets it finish what it has begun.
pub(crate) async fn run(
    stream: TcpStream,
    address: SocketAddr,
    http: http1::Builder,
    pool: Pool,
    stopping: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!(%address, %error, "client left before it was served");
    }
    let Ok(client) = HeaderValue::try_from(address.ip().to_canonical().to_string()) else {
        return;
    };
    let session = Arc::new(Session {
        pool,
        socket: Socket::new(stream),
        client,
        stopping: stopping.clone(),
        tunnel: Mutex::new(None),
    });
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(forward(&session, request).await) }
    });
    let io = TokioIo::new(session.socket.clone());
    let mut connection = pin!(http.serve_connection(io, service).with_upgrades());
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = closing(stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "client connection broke off");
        if error.is_timeout() && session.socket.is_mid_request() {
            session.socket.last_word(REQUEST_TIMEOUT);
        }
    }
    if let Some(tunnel) = session.take_tunnel() {
        tunnel.run().await;
    }
}
