//! The loop that accepts connections on the status port and on the probe port.
//!
//! Failure mode: if `accept` fails because no file descriptors or memory are left, `accept` is called again after a
//! pause.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

use crate::open_connections::{ConnectionGuard, Limits, OpenConnections};

/// Pause after an error of `accept`: the process has no file descriptors or memory left.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections forever. Each connection is served until it ends, or until it must be closed because the port
/// has reached its connection limit.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    limits: Limits,
    connection: impl Fn(TcpStream, Arc<ConnectionGuard>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let open_connections = OpenConnections::new(limits);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "connections to the {} port cannot be accepted", limits.port);
                sleep(REST).await;
                continue;
            }
        };
        let guard = Arc::new(open_connections.take(peer.ip()));
        let connection = connection(stream, Arc::clone(&guard));
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = guard.is_needed() => {}
            }
        });
    }
}
