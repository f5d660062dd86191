//! Why the autoscaler cannot start or cannot continue.

use std::io;

use ebb_metrics::{ports::ListenError, tasks::TaskEnded};

use crate::{certificate::CertificateError, ingest::tls::TlsError};

/// Why the autoscaler cannot start or cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No client for the API server can be built from the configuration.
    #[error("cannot create a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// Neither a kubeconfig file nor a service account has a usable configuration for the API server.
    #[error("no usable configuration for reaching the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// A port cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
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
