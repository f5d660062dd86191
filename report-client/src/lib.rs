//! Sends reports to every replica of the autoscaler: the sending side of `docs/report-api.md`, for the agent and the
//! activator.
//!
//! Each address has its own task, so a slow replica does not delay the others. Nothing is queued: each replica gets the
//! newest report when the replica is ready for one. All counters are cumulative, so the newest report covers the missed
//! ones.
//!
//! Failure mode: a replica that does not answer is tried again with each report, at most once a second. The failure is
//! logged once and counted in the metrics.

mod address;
mod connection;
mod credentials;
mod replica;
mod sending;

use std::{net::SocketAddr, sync::Arc};

use hyper::{Uri, body::Bytes};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use self::{address::Addresses, connection::Peer, replica::Replica};
pub use self::{address::url, credentials::Credentials, sending::Sending};

/// Sends each report of `reports` with `POST` to `path` at all addresses of the URL's host, over TLS if the scheme is
/// `https`. An empty report is not sent. This function never returns; dropping its future ends its tasks.
pub async fn send(
    url: Uri,
    path: &'static str,
    credentials: Arc<Credentials>,
    reports: watch::Receiver<Bytes>,
    sending: Sending,
) {
    let mut addresses = Addresses::of(&url);
    let mut replicas: Vec<(SocketAddr, AbortHandle)> = Vec::new();
    let mut tasks = JoinSet::new();
    loop {
        let now = addresses.changed().await;
        replicas.retain(|(address, task)| {
            let stays = now.contains(address);
            if !stays {
                tracing::info!(%address, host = url.host(), "replica gone");
                task.abort();
            }
            stays
        });
        for address in now {
            if replicas.iter().any(|(known, _)| *known == address) {
                continue;
            }
            tracing::info!(%address, host = url.host(), "replica");
            let peer = Peer::new(address, &url, path, Arc::clone(&credentials));
            let replica = Replica::new(peer, reports.clone(), sending.clone());
            replicas.push((address, tasks.spawn(replica.run())));
        }
        // Removes aborted tasks from the set.
        while tasks.try_join_next().is_some() {}
        sending.replicas(url.host().unwrap_or_default(), replicas.len());
    }
}

#[cfg(test)]
mod tests;
