//! Opens the status port and the probe port.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ebb_metrics::probe;
use tokio::net::TcpListener;

use crate::failure::Failure;

/// The default address of the probe port.
const PROBES: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9477);

/// Opens the status port.
pub(crate) async fn status(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Failure::Listen { address, source })
}

/// Opens the probe port; see [`probe::listen`].
pub(crate) async fn probe(requested: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    probe::listen(requested, PROBES)
        .await
        .map_err(|source| Failure::Listen {
            address: requested.unwrap_or(PROBES),
            source,
        })
}
