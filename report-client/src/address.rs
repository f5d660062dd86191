//! Resolves the addresses of a host and follows their changes.
//!
//! Failure mode: a name that cannot be resolved keeps its last addresses, because a failed resolver says nothing about
//! the replicas.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use hyper::Uri;
use tokio::{net::lookup_host, time::sleep};
use tracing::warn;

/// Interval at which a name is resolved again, because replicas change at a rollout. The cluster's DNS caches answers
/// for 5 s (CoreDNS' default TTL for a Service).
const AGAIN: Duration = Duration::from_secs(5);

/// Parses the URL of an autoscaler from an option. Plain HTTP is allowed only to the local host, because the requests
/// contain a token.
///
/// # Errors
/// If the URL is invalid. The error says why, and what is allowed.
pub fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text
        .parse()
        .map_err(|error| format!("{error}: must be https://HOST[:PORT]"))?;
    let host = url.host().unwrap_or_default();
    match url.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url),
        Some("http") if matches!(host, "localhost" | "127.0.0.1" | "[::1]") => Ok(url),
        Some("http") => Err("http:// is allowed only to the local host: use https://".to_owned()),
        _ => Err("must be https://HOST[:PORT]".to_owned()),
    }
}

/// Returns the host of a URL in the form that DNS and certificates use: an IPv6 address has no brackets.
pub(crate) fn host(url: &Uri) -> &str {
    let host = url.host().unwrap_or_default();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}

/// The known addresses of one host.
#[derive(Debug)]
pub(crate) struct Addresses {
    host: String,
    port: u16,
    known: BTreeSet<SocketAddr>,
    asked: bool,
    failed: bool,
}

impl Addresses {
    pub(crate) fn of(url: &Uri) -> Self {
        let secure = url.scheme_str() == Some("https");
        Self {
            host: host(url).to_owned(),
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            known: BTreeSet::new(),
            asked: false,
            failed: false,
        }
    }

    /// Waits until the addresses change, and returns all addresses. The first call waits until the name has an address.
    pub(crate) async fn changed(&mut self) -> BTreeSet<SocketAddr> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_host_and_port_are_looked_up() {
        for (url, host, port) in [
            ("https://autoscaler.ebb:8443", "autoscaler.ebb", 8443),
            ("http://autoscaler.ebb", "autoscaler.ebb", 80),
            ("https://[fd00::7]", "fd00::7", 443),
        ] {
            let addresses = Addresses::of(&url.parse().unwrap());
            assert_eq!((&*addresses.host, addresses.port), (host, port), "{url}");
        }
    }

    #[test]
    fn tokens_do_not_leave_the_host_in_the_clear() {
        for good in [
            "https://a.b.svc:8443",
            "http://127.0.0.1:8080",
            "http://[::1]:1",
            "http://localhost",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in ["http://a.b.svc", "a.b.svc:8443", "ftp://a", "https://", ""] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
