//! Why the autoscaler cannot start or cannot continue.

use std::{io, net::SocketAddr};

use ebb_metrics::tasks::TaskEnded;

use crate::{certificate::CertificateError, ingest::tls::TlsError};

/// Why the autoscaler cannot start or cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No client for the API server can be built from the configuration.
    #[error("cannot create a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// The configuration of the client cannot be inferred.
    #[error("cannot tell how to reach the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address to listen on.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate cannot be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate cannot be read or made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Signal handlers cannot be installed.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// A task that must not end has ended.
    #[error(transparent)]
    Broken(#[from] TaskEnded),
}
