//! The client for the API server. Every request has a time limit, and a frozen connection is not used again.
//!
//! kube's client waits for an answer without a time limit, and takes idle connections from a pool without checking
//! whether the peer is still reachable. So this module builds the client from kube's layers and hyper's client.
//!
//! Bias: a new connection is preferred to a doubtful one. After a request without an answer in time, all idle
//! connections are dropped ([`Pools`]). Failure mode: if the API server is healthy but slow, there are some more TLS
//! handshakes.

mod body;
mod pools;
mod service;

use std::{sync::Arc, time::Duration};

use hyper_util::client::legacy::connect::HttpConnector;
use kube::{Client, Config, Error, client::ConfigExt as _};
use tower::Layer as _;

pub(super) use self::body::NoAnswer;
use self::{pools::Pools, service::Requests};
use super::leadership::Leadership;

/// Time limit for the head of an answer. A list of 500 objects takes less time. Under load, kube-apiserver queues a
/// request for at most a quarter of its own limit of 60 s
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>).
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time limit for the next piece of an answer.
const PIECE_WITHIN: Duration = Duration::from_secs(10);
/// Time limit for a whole answer: kube-apiserver's own limit for requests other than watches (`--request-timeout`).
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// Time limit for a new connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// TCP keepalive: an idle connection is probed after this time, then every `KEEPALIVE_EACH`. After `KEEPALIVES` probes
/// without an answer, the kernel closes the connection.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_EACH: Duration = Duration::from_secs(5);
const KEEPALIVES: u32 = 2;
/// The connection ends if the peer does not acknowledge sent bytes for this time.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

/// Creates clients that share their connections.
#[derive(Debug)]
pub(super) struct Connections {
    config: Config,
    pools: Arc<Pools>,
}

impl Connections {
    /// # Errors
    /// If the configuration cannot be used.
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        if let Some(proxy) = &config.proxy_url {
            return Err(Error::ProxyProtocolUnsupported {
                proxy_url: Box::new(proxy.clone()),
            });
        }
        let mut connector = HttpConnector::new();
        // The TCP connector accepts `https` addresses, because the layer around the connector does TLS.
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        connector.set_keepalive(Some(KEEPALIVE_AFTER));
        connector.set_keepalive_interval(Some(KEEPALIVE_EACH));
        connector.set_keepalive_retries(Some(KEEPALIVES));
        connector.set_tcp_user_timeout(Some(ACKNOWLEDGED_WITHIN));
        let connector = config.rustls_https_connector_with_connector(connector)?;
        Ok(Self {
            config,
            pools: Arc::new(Pools::new(connector)),
        })
    }

    /// Returns a client for reads, and for writes that do not depend on leadership (the Lease, the certificate).
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub(super) fn client(&self) -> Result<Client, Error> {
        self.build(None)
    }

    /// Returns a client that writes only while this replica leads. Just before a write is sent, the client checks by
    /// the clock that this replica still leads. Each write must be over before another replica can become the leader.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub(super) fn client_of_leader(&self, leadership: Arc<Leadership>) -> Result<Client, Error> {
        self.build(Some(leadership))
    }

    fn build(&self, leadership: Option<Arc<Leadership>>) -> Result<Client, Error> {
        let requests = Requests::new(Arc::clone(&self.pools), leadership);
        let requests = self.config.extra_headers_layer()?.layer(requests);
        let namespace = self.config.default_namespace.clone();
        let base = self.config.base_uri_layer();
        Ok(match self.config.auth_layer()? {
            Some(auth) => Client::new(base.layer(auth.layer(requests)), namespace),
            None => Client::new(base.layer(requests), namespace),
        })
    }
}

#[cfg(test)]
mod tests;
