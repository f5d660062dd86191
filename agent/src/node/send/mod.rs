//! Reports, to every replica of the autoscaler.
//!
//! Each address has a task of its own, and a slow replica holds up no other. Nothing is queued: what a replica gets is
//! the newest report there is when it is ready for one, and as all figures are cumulative, what it missed is in it.
//!
//! Failure mode: a replica that does not answer is tried again with each report, at most once a second; said once
//! in the log, counted in the metrics.

mod address;
mod connection;
mod credentials;
mod replica;

use std::{net::SocketAddr, sync::Arc};

use hyper::{Uri, body::Bytes};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

pub(super) use self::credentials::Credentials;
use self::{address::Addresses, connection::Peer, replica::Replica};
use super::metrics::Sending;

/// Keeps one task for each address of one URL. Never ends; dropping it ends the tasks.
pub(super) async fn send(
    url: Uri,
    credentials: Arc<Credentials>,
    reports: watch::Receiver<Bytes>,
    metrics: Sending,
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
            let peer = Peer::new(address, &url, Arc::clone(&credentials));
            let replica = Replica::new(peer, reports.clone(), metrics.clone());
            replicas.push((address, tasks.spawn(replica.run())));
        }
        // Aborted ones.
        while tasks.try_join_next().is_some() {}
        metrics.replicas(url.host().unwrap_or_default(), replicas.len());
    }
}

#[cfg(test)]
mod tests;
