//! The report port: TLS, and limits that hold before anybody is believed.
//!
//! Bias: towards those who are known. A connection on which nothing good has come yet is a stranger's; there may be
//! few of them, fewer still from one address, and each must come to the point within seconds. Once it has brought a
//! report with a good token it is counted apart, and no flood of strangers takes its place.

mod guard;
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

use self::guard::{Doorkeeper, Seat};
pub(super) use self::handler::Handler;

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time for the head of a request, counted from the answer to the one before: agents send every second.
const HEAD: Duration = Duration::from_secs(10);
/// Read at a time; a report of thirty pods has 8 KiB.
const BUFFER: usize = 64 << 10;
/// Wait after the system refused a connection for want of something.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Time for connections to end when the program does.
const FAREWELL: Duration = Duration::from_secs(2);

/// Takes reports on `listener` until `end` is true.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: Arc<Handler>,
    max_connections: usize,
    mut end: watch::Receiver<bool>,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls);
    let doorkeeper = Arc::new(Doorkeeper::new(max_connections));
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
        let Some(seat) = doorkeeper.admit(peer.ip()) else {
            handler.metrics.turned_away();
            // Dropped: closed.
            continue;
        };
        let (acceptor, handler, watcher) = (acceptor.clone(), Arc::clone(&handler), open.watcher());
        tokio::spawn(async move {
            if let Some(error) = connection(stream, peer, seat, acceptor, handler, watcher)
                .await
                .err()
            {
                debug!(%peer, %error, "connection ended");
            }
        });
    }
    // Agents connect to another replica, or again; what they were about to say they say then.
    let _ = time::timeout(FAREWELL, open.shutdown()).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    acceptor: TlsAcceptor,
    handler: Arc<Handler>,
    watcher: hyper_util::server::graceful::Watcher,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let seat = Arc::new(seat);
    let service = service_fn(|request| {
        let (handler, seat) = (Arc::clone(&handler), Arc::clone(&seat));
        async move { Ok::<_, Infallible>(handler.answer(request, peer, &seat).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    watcher.watch(connection).await?;
    Ok(())
}
