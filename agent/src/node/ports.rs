//! Opens the status port and the probe port.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use ebb_metrics::probe;
use tokio::net::TcpListener;

/// The default address of the probe port.
const PROBES: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9475);

/// Opens the status port.
pub(super) async fn status(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Opens the probe port; see [`probe::listen`].
pub(super) async fn probe(requested: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    probe::listen(requested, PROBES).await.with_context(|| {
        let address = requested.unwrap_or(PROBES);
        format!("cannot listen on {address} (--probe-address)")
    })
}
