//! The accept loop of the status port and of the probe port.
//!
//! Failure mode: if `accept` fails for lack of descriptors or memory, it is tried again after a pause.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

use crate::seats::{Limits, Seat, Seats};

/// Pause after an error of `accept`, which is an error of resources.
const REST: Duration = Duration::from_millis(100);

/// Accepts connections forever. Each is served until it ends or its seat is needed for another one.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    limits: Limits,
    connection: impl Fn(TcpStream, Arc<Seat>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let seats = Seats::new(limits);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "connections to the {} port cannot be accepted", limits.port);
                sleep(REST).await;
                continue;
            }
        };
        let seat = Arc::new(seats.take(peer.ip()));
        let connection = connection(stream, Arc::clone(&seat));
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = seat.is_needed() => {}
            }
        });
    }
}
