//! The loop that accepts connections.
//!
//! Bias: towards continuing. If a connection fails, or the process has no file descriptors left, the loop waits and
//! continues. Failure mode: the loop ends with an error only if the listener cannot accept any more connections.

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

/// Pause when the process has no file descriptors or memory left. The pause is long enough that other connections free
/// some of them, and short for a client.
const PAUSE: Duration = Duration::from_millis(50);

/// Maximum number of connections that the kernel queues for `accept`. The kernel uses the smaller of this value and
/// `net.core.somaxconn`, by default 4096. Rust's standard library uses 128: with it, most clients in a burst of 1000
/// would wait 1 s or more for the second SYN.
const BACKLOG: i32 = 4096;

/// Interval at which the task of a listener that accepts no more connections checks whether its requests are still
/// queued. The interval does not have to be short: requests are queued for a minute at most, and no code waits for the
/// end of the task.
const EMPTY_AGAIN: Duration = Duration::from_millis(100);

/// Reasons why [`serve`] ended before it was stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The accept queue of the listener cannot be made long enough for a burst.
    #[error("cannot listen with room for {BACKLOG} connections")]
    Listen(#[source] io::Error),
    /// The listener cannot accept any more connections.
    #[error("cannot accept connections")]
    Accept(#[source] io::Error),
}

/// Accepts connections and forwards their requests to the backends of `pool`, until `shutdown` resolves. Then it
/// accepts no more connections, and answers queued requests with 503. It returns when all requests at backends have
/// ended, including upgraded connections. To limit this time, drop the future: its connections are dropped, too.
///
/// # Errors
///
/// [`ServeError`] if the listener fails permanently.
pub async fn serve(
    listener: TcpListener,
    pool: Pool,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    serve_until(listener, pool, std::future::pending(), shutdown).await
}

/// Like [`serve`], with a second signal: when `closed` resolves, it accepts no more connections and serves the queued
/// requests. It then ends in the same way as after `shutdown`.
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
    // On a socket that listens already, `listen` sets the length of the accept queue.
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
                if pool.queued().now == 0 {
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
            // Removes ended sessions from the set.
            Some(_ended) = sessions.join_next() => memory.note(sessions.len()),
        }
    }
    drop(listener);
    stop.send_replace(true);
    while sessions.join_next().await.is_some() {}
    Ok(())
}

/// Accepts the next connection. Without a listener it never resolves.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// Handles an error of `accept`. Linux also returns errors of the new connection from `accept`, see accept(2).
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
