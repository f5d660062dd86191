//! The report port: TLS, and limits that apply before a sender is authenticated.
//!
//! Bias: authenticated senders take precedence. A sender is a stranger until it has sent a valid token. The number of
//! strangers' connections is limited, in total and for each address, and each of these connections must send a request
//! within seconds. A connection with a valid token is counted separately, so no flood of strangers can displace it.

mod connection_limiter;
mod handler;
pub(super) mod identity;
mod remembered;
pub(super) mod tls;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing::{debug, warn};

use self::connection_limiter::{AdmittedConnection, ConnectionLimiter};
pub(super) use self::handler::Handler;

/// Time limit for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time limit for the head of a request, counted from the previous answer. Agents send a request every second.
const HEAD: Duration = Duration::from_secs(10);
/// Size of the read buffer in bytes; a report of thirty pods has about 8 KiB.
const BUFFER: usize = 64 << 10;
/// Wait after a connection could not be accepted because the system lacked a resource, e.g. file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Time limit for open connections to end at shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// Receives reports on `listener` until `end` is true.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: Arc<Handler>,
    max_connections: usize,
    mut end: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let limiter = Arc::new(ConnectionLimiter::new(max_connections));
    let open = hyper_util::server::graceful::GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.wait_for(|end| *end) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot take a connection");
                time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        let Some(admitted) = limiter.admit(peer.ip()) else {
            handler.metrics.rejected_connection();
            // Dropping the stream closes the connection.
            continue;
        };
        let (acceptor, handler, watcher) = (acceptor.clone(), Arc::clone(&handler), open.watcher());
        tokio::spawn(async move {
            if let Some(error) = connection(stream, peer, admitted, acceptor, handler, watcher)
                .await
                .err()
            {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
    // Waits only briefly for open connections to end: agents connect again, possibly to another replica, and send their
    // next report to it.
    let _ = time::timeout(FAREWELL, open.shutdown()).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    admitted: AdmittedConnection,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let admitted = Arc::new(admitted);
    let service = service_fn(|request| {
        let (handler, admitted) = (Arc::clone(&handler), Arc::clone(&admitted));
        async move { Ok::<_, Infallible>(handler.answer(request, peer, &admitted).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    watcher.watch(connection).await?;
    Ok(())
}
