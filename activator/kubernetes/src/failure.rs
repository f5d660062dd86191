//! Reasons why the activator cannot start or continue.

use std::{io, net::SocketAddr};

use ebb_metrics::tasks::TaskEnded;

/// Reasons why the activator cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A client for the API server cannot be created.
    #[error("cannot create a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// The configuration for the API server cannot be determined.
    #[error("no usable configuration for reaching the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The status port or the probe port cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address on which the activator cannot listen.
        address: SocketAddr,
        /// The operating system's error.
        source: io::Error,
    },
    /// The handlers of SIGTERM and SIGINT cannot be installed.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// A task ended although it must run as long as the program.
    #[error(transparent)]
    Broken(#[from] TaskEnded),
}
