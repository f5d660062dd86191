//! Opens the ports of a program.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    address: SocketAddr,
    pub(crate) source: io::Error,
}

/// Opens a port.
///
/// # Errors
/// If the operating system refuses to listen on the address, for example because another program uses the port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })
}
