//! The way to the API server: every request has a time limit, and a connection that froze is not used again.
//!
//! kube's own client waits for ever for an answer, and takes idle connections out of a pool without asking whether
//! anybody is still at their other end. So the stack is put together here from kube's layers and hyper's client.
//!
//! Bias: rather a new connection than a doubtful one. After an answer that did not come in time all idle connections are
//! let go ([`Pools`]). Failure mode: a healthy but slow API server costs some TLS handshakes more.

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

/// How long the head of an answer is waited for. Lists of 500 objects are prepared in less; kube-apiserver queues
/// requests under load for at most a quarter of its own limit of 60 s
/// (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>).
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the next piece of an answer is waited for.
const PIECE_WITHIN: Duration = Duration::from_secs(10);
/// How long a whole answer may take: kube-apiserver's own limit for what is not a watch (`--request-timeout`).
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// A connection must be made within this time.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// TCP asks an idle peer after this time, and that often more, so that the kernel notices a peer that is gone.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_EACH: Duration = Duration::from_secs(5);
const KEEPALIVES: u32 = 2;
/// Bytes that a peer has not acknowledged for this long end the connection.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(15);

/// Makes clients that share their connections.
#[derive(Debug)]
pub(super) struct Connections {
    config: Config,
    pools: Arc<Pools>,
}

impl Connections {
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn new(config: Config) -> Result<Self, Error> {
        if let Some(proxy) = &config.proxy_url {
            return Err(Error::ProxyProtocolUnsupported {
                proxy_url: Box::new(proxy.clone()),
            });
        }
        let mut connector = HttpConnector::new();
        // TLS is the next layer's.
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

    /// A client for reading, and for what a replica writes whether or not it leads (its Lease, its certificate).
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub(super) fn client(&self) -> Result<Client, Error> {
        self.build(None)
    }

    /// A client that writes only while this replica leads. Each write is checked by the clock just before it goes out,
    /// and must be over before another replica may lead.
    ///
    /// # Errors
    /// The configuration cannot be used.
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
