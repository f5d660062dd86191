//! The host names that a status port accepts in requests.
//!
//! The check protects against DNS rebinding. In that attack, a web page in a browser sends requests to its own host
//! name. The owner of the name changes its DNS entry to an address of this cluster, and the page can read the
//! responses. So a port accepts only names that no attacker can own: IP addresses, `localhost`, the Services of its own
//! namespace, and the names given with `--allowed-host`.
//!
//! Failure mode: a request with another name is refused with 421, and the text of the response mentions
//! `--allowed-host`.

use std::{collections::HashSet, fs, net::IpAddr};

use hyper::{
    Request,
    header::HOST,
    http::uri::{Authority, PathAndQuery},
};

/// The file with the DNS suffixes of a pod's namespace:
/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services>.
const RESOLVER: &str = "/etc/resolv.conf";

/// Maximum number of characters of a refused name that the response quotes. A DNS name has at most 253 characters.
const REPEATED: usize = 253;

/// The accepted host names.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    names: HashSet<String>,
    /// Suffixes that are accepted after exactly one label, such as `.ebb-system.svc`.
    suffixes: Vec<String>,
}

impl Hosts {
    /// Accepts IP addresses, `localhost`, the Services of this pod's namespace, and the names in `allowed`.
    #[must_use]
    pub fn new(allowed: impl IntoIterator<Item = String>) -> Self {
        let resolver = fs::read_to_string(RESOLVER).unwrap_or_default();
        Self {
            names: allowed.into_iter().map(|name| normal(&name)).collect(),
            suffixes: suffixes(&resolver),
        }
    }

    /// Checks the host name of a request.
    ///
    /// # Errors
    /// The name is not accepted. The error is the name.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), String> {
        // The host of the request target overrides the `Host` header (RFC 9112 section 3.2.2).
        let given = match (request.uri().authority(), request.headers().get(HOST)) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => match host.to_str() {
                Ok(host) => host,
                Err(_) => return Err("(not text)".to_owned()),
            },
            // A request without a host is accepted: it cannot come from a browser, because every browser sends a host.
            (None, None) => return Ok(()),
        };
        let refused = || given.chars().take(REPEATED).collect();
        let authority: Authority = given.parse().map_err(|_| refused())?;
        match self.allows(authority.host()) {
            true => Ok(()),
            false => Err(refused()),
        }
    }

    fn allows(&self, host: &str) -> bool {
        let host = normal(host);
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if literal.parse::<IpAddr>().is_ok() || host == "localhost" || self.names.contains(&host) {
            return true;
        }
        self.suffixes.iter().any(|suffix| {
            host.strip_suffix(suffix)
                .is_some_and(|service| !service.is_empty() && !service.contains('.'))
        })
    }
}

/// Normalises a name: converts it to lower case and removes dots at the end.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Returns the DNS suffixes of the Services in this pod's namespace: `.NAMESPACE`, `.NAMESPACE.svc`,
/// `.NAMESPACE.svc.CLUSTER`. Empty outside a pod.
fn suffixes(resolver: &str) -> Vec<String> {
    let search = resolver
        .lines()
        .filter_map(|line| line.strip_prefix("search "))
        .flat_map(str::split_whitespace);
    let mut suffixes = Vec::new();
    for domain in search.map(normal) {
        let Some((namespace, cluster)) = domain.split_once(".svc.") else {
            continue;
        };
        if namespace.is_empty() || namespace.contains('.') || cluster.is_empty() {
            continue;
        }
        for suffix in [
            format!(".{namespace}"),
            format!(".{namespace}.svc"),
            format!(".{domain}"),
        ] {
            suffixes.push(suffix);
        }
    }
    suffixes
}

/// Returns the query of the request target.
pub(crate) fn query<B>(request: &Request<B>) -> Option<&str> {
    request.uri().path_and_query().and_then(PathAndQuery::query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(allowed: &[&str]) -> Hosts {
        let resolver = "nameserver 10.96.0.10\nsearch ebb-system.svc.cluster.local svc.cluster.local cluster.local corp.example\n";
        Hosts {
            names: allowed.iter().map(|name| normal(name)).collect(),
            suffixes: suffixes(resolver),
        }
    }

    fn asks(hosts: &Hosts, host: &str) -> Result<(), String> {
        hosts.check(
            &Request::builder()
                .uri("/")
                .header(HOST, host)
                .body(())
                .unwrap(),
        )
    }

    #[test]
    fn t12_only_names_that_nobody_outside_can_own_are_answered_to() {
        let hosts = hosts(&["ebb.corp.example"]);
        for good in [
            "127.0.0.1:9466",
            "10.1.2.3",
            "[::1]:9466",
            "[fd00::1]",
            "localhost:9466",
            "LocalHost",
            "ebb-autoscaler.ebb-system",
            "ebb-autoscaler.ebb-system.svc:9466",
            "ebb-autoscaler.ebb-system.svc.cluster.local.:9466",
            "ebb.corp.example:80",
        ] {
            assert_eq!(asks(&hosts, good), Ok(()), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:9466",
            "evil",
            "localhost.evil.example",
            "ebb-system.svc",
            "evil.example.ebb-system.svc",
            "ebb-autoscaler.other.svc",
            "ebb-autoscaler.ebb-system.svc.evil.example",
            "127.0.0.1.evil.example",
            "me@evil.example",
            "",
        ] {
            assert!(asks(&hosts, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn t12_a_target_with_a_host_counts_before_the_header() {
        let hosts = hosts(&[]);
        let request = |uri: &str| {
            let request = Request::builder().uri(uri).header(HOST, "localhost");
            request.body(()).unwrap()
        };
        assert_eq!(
            hosts.check(&request("http://evil.example/metrics")),
            Err("evil.example".to_owned())
        );
        assert_eq!(hosts.check(&request("http://10.0.0.1/metrics")), Ok(()));
        let none = Request::builder().uri("/").body(()).unwrap();
        assert_eq!(hosts.check(&none), Ok(()));
    }

    #[test]
    fn t12_outside_a_pod_no_service_is_known() {
        let none: Vec<String> = Vec::new();
        assert_eq!(suffixes("search corp.example svc.cluster.local\n"), none);
        assert_eq!(suffixes(""), none);
    }
}
