//! Opens the ports of a program.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({option}): {source}")]
pub struct ListenError {
    address: SocketAddr,
    /// The command line option that sets the address.
    option: &'static str,
    pub(crate) source: io::Error,
}

/// Opens a port. `option`: the command line option that sets the address, for the error.
///
/// # Errors
/// If the operating system refuses to listen on the address, for example because another program uses the port.
pub async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError {
            address,
            option,
            source,
        })
}
