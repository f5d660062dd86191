//! Reports, to every replica of the autoscaler.
//!
//! Each address has a task of its own, and a slow replica holds up no other. Nothing is queued: what a replica gets is
//! the newest report there is when it is ready for one.

mod peer;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hyper::{Uri, body::Bytes};
use tokio::{
    net::lookup_host,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tracing::{info, warn};

use self::peer::Peer;

/// How often the name is resolved again: CoreDNS answers from its cache for 5 s by default.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// A replica in trouble is tried no more often.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Whom reports are for, and with what they are sent.
#[derive(Clone, Debug)]
pub(super) struct Autoscaler {
    pub(super) url: Uri,
    pub(super) authority: Option<PathBuf>,
    pub(super) token: Option<PathBuf>,
}

impl Autoscaler {
    fn is_secure(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// The URL's host, IPv6 addresses without their brackets.
    fn host(&self) -> &str {
        self.url.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    fn port(&self) -> u16 {
        let default = if self.is_secure() { 443 } else { 80 };
        self.url.port_u16().unwrap_or(default)
    }
}

/// Sends what comes out of `reports` to all addresses of the autoscaler. Never ends; dropping it ends its tasks.
pub(super) async fn run(autoscaler: Autoscaler, reports: watch::Receiver<Bytes>) {
    let autoscaler = Arc::new(autoscaler);
    let mut replicas: BTreeMap<SocketAddr, _> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut failed = false;
    loop {
        let known: BTreeSet<_> = replicas.keys().copied().collect();
        let found: BTreeSet<_> = match lookup_host((autoscaler.host(), autoscaler.port())).await {
            Ok(found) => {
                failed = false;
                found.collect()
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    warn!(host = autoscaler.host(), %error, "the autoscaler's name cannot be resolved");
                }
                // A resolver that is away says nothing about the replicas.
                known.clone()
            }
        };
        for address in known.difference(&found) {
            info!(%address, "replica of the autoscaler gone");
            if let Some(task) = replicas.remove(address) {
                tokio::task::AbortHandle::abort(&task);
            }
        }
        for &address in found.difference(&known) {
            info!(%address, "replica of the autoscaler");
            let peer = Peer::new(address, Arc::clone(&autoscaler));
            replicas.insert(address, tasks.spawn(keep_sending(peer, reports.clone())));
        }
        // Aborted ones.
        while tasks.try_join_next().is_some() {}
        sleep(RESOLVE_EVERY).await;
    }
}

async fn keep_sending(mut peer: Peer, mut reports: watch::Receiver<Bytes>) {
    let mut wrong: Option<String> = None;
    reports.mark_changed();
    while reports.changed().await.is_ok() {
        let began = Instant::now();
        let body = reports.borrow_and_update().clone();
        if body.is_empty() {
            continue;
        }
        match peer.post(body).await {
            Ok(()) => {
                if wrong.take().is_some() {
                    info!(address = %peer.address, "reports are taken again");
                }
            }
            Err(error) => {
                let why = error.to_string();
                if wrong.as_ref() != Some(&why) {
                    warn!(address = %peer.address, why, "reports do not arrive");
                    wrong = Some(why);
                }
                sleep_until(began + TRY_EVERY).await;
            }
        }
    }
}
