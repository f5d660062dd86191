//! Reasons why the activator cannot start or continue.

use std::io;

use ebb_metrics::{ports::ListenError, tasks::TaskEnded};

/// Reasons why the activator cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A client for the API server cannot be created.
    #[error("cannot create a client for the API server: {0}")]
    Client(#[from] kube::Error),
    /// The configuration for the API server cannot be determined.
    #[error("no usable configuration for reaching the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// A port cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The handlers of signals cannot be installed.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// A task ended although it must run as long as the program.
    #[error(transparent)]
    Broken(#[from] TaskEnded),
}
