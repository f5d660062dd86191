//! The log of a program: lines on stderr, which the container runtime collects.
//!
//! Failure mode: an invalid `EBB_LOG` is ignored.

use tracing_subscriber::EnvFilter;

/// The default filter. It excludes warnings of the Kubernetes client library, because the programs log the same
/// problems themselves, once.
const UNLESS_ASKED: &str = "info,kube_client=error,kube_runtime=error";

/// Starts the log with the filter in `EBB_LOG`, in the syntax of [`EnvFilter`]. Must be called once, before anything is
/// logged.
pub fn begin() {
    let filter =
        EnvFilter::try_from_env("EBB_LOG").unwrap_or_else(|_| EnvFilter::new(UNLESS_ASKED));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}
