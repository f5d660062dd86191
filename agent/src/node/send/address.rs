//! The addresses of a host, as they come and go.
//!
//! Failure mode: a name that cannot be resolved keeps its last addresses, because a resolver that is away says nothing
//! about the replicas.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use hyper::Uri;
use tokio::{net::lookup_host, time::sleep};
use tracing::warn;

/// How often a name is resolved again: replicas change with roll-outs, and the cluster's DNS answers for 5 s
/// from its cache (CoreDNS' default for a Service is a TTL of 5).
const AGAIN: Duration = Duration::from_secs(5);

/// The addresses of one host.
#[derive(Debug)]
pub(super) struct Addresses {
    host: String,
    port: u16,
    known: BTreeSet<SocketAddr>,
    asked: bool,
    failed: bool,
}

impl Addresses {
    pub(super) fn of(url: &Uri) -> Self {
        let secure = url.scheme_str() == Some("https");
        // IPv6 addresses are in brackets in a URL, and without in a look-up.
        let host = url.host().unwrap_or_default();
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Self {
            host: bare.unwrap_or(host).to_owned(),
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            known: BTreeSet::new(),
            asked: false,
            failed: false,
        }
    }

    /// The addresses, as soon as they are others than before; at first, as soon as there are any.
    pub(super) async fn changed(&mut self) -> BTreeSet<SocketAddr> {
        loop {
            if self.asked {
                sleep(AGAIN).await;
            }
            self.asked = true;
            match lookup_host((self.host.as_str(), self.port)).await {
                Ok(found) => {
                    self.failed = false;
                    let found: BTreeSet<_> = found.collect();
                    if found != self.known {
                        self.known = found;
                        return self.known.clone();
                    }
                }
                Err(error) => {
                    if !self.failed {
                        warn!(host = self.host, %error, "the autoscaler's name cannot be resolved");
                    }
                    self.failed = true;
                }
            }
        }
    }
}
