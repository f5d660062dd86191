//! The accept loop.
//!
//! Bias: towards going on. A connection that fails, or a process out of descriptors, is waited
//! out; only a listener that cannot accept any more ends the door with an error.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::memory::Memory;
use crate::pool::Pool;
use crate::session;

/// Out of descriptors or memory: long enough for some to come free, short to a client.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections the kernel may queue for `accept`; it takes the smaller of this and its own
/// `net.core.somaxconn`, 4096 by default. With std's 128 a burst of 1000 clients at zero copies
/// waits 1 s or more for the second SYN of most.
const BACKLOG: i32 = 4096;

/// How often a door that takes no new connections looks whether requests still wait. They wait for a minute at most, and
/// nobody waits for the door.
const EMPTY_AGAIN: Duration = Duration::from_millis(100);

/// What ends the door before it is told to close.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its queue cannot be made long enough for a burst.
    #[error("cannot listen with room for {BACKLOG} connections")]
    Listen(#[source] io::Error),
    /// The listener is of no use any more.
    #[error("cannot accept connections")]
    Accept(#[source] io::Error),
}

/// Accepts connections and passes their requests on to the backends of `pool`, until `shutdown`
/// resolves; then it accepts no more, answers the requests that wait with 503, and returns when
/// those at a backend, upgraded connections included, have ended. To set that a time limit, drop
/// the future: it takes every connection with it.
///
/// # Errors
///
/// [`ServeError`] when the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    pool: Pool,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    serve_until(listener, pool, std::future::pending(), shutdown).await
}

/// The same; when `closed` resolves it accepts no more, and the requests that wait are served before it ends.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_until(
    listener: TcpListener,
    pool: Pool,
    closed: impl Future<Output = ()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    // On a socket that listens already, this sets the length of its queue.
    SockRef::from(&listener)
        .listen(BACKLOG)
        .map_err(ServeError::Listen)?;
    let protocols = session::Protocols::new(pool.limits());
    let (stop, stopping) = watch::channel(false);
    let mut sessions = JoinSet::new();
    let mut memory = Memory::default();
    let mut closed = std::pin::pin!(closed);
    let mut shutdown = std::pin::pin!(shutdown);
    let mut listener = Some(listener);
    loop {
        tokio::select! {
            () = shutdown.as_mut() => break,
            () = closed.as_mut(), if listener.is_some() => listener = None,
            () = tokio::time::sleep(EMPTY_AGAIN), if listener.is_none() => {
                if pool.held().now == 0 {
                    break;
                }
            }
            accepted = accept(listener.as_ref()) => match accepted {
                Ok((stream, address)) => {
                    let (pool, stopping) = (pool.clone(), stopping.clone());
                    let session = session::run(stream, address, protocols.clone(), pool, stopping);
                    sessions.spawn(session);
                    memory.note(sessions.len());
                }
                Err(error) => after_failure(error).await?,
            },
            // Only to forget those that have ended.
            Some(_ended) = sessions.join_next() => memory.note(sessions.len()),
        }
    }
    drop(listener);
    stop.send_replace(true);
    while sessions.join_next().await.is_some() {}
    Ok(())
}

/// The next connection; never one where nothing listens.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Linux hands a connection's own errors to `accept`, see accept(2).
async fn after_failure(error: io::Error) -> Result<(), ServeError> {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::InvalidInput | Kind::Unsupported => return Err(ServeError::Accept(error)),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted => {}
        _ => {
            tracing::warn!(%error, "cannot accept a connection, trying again in {PAUSE:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}
