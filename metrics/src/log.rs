//! The log of a program: lines on stderr, which the container runtime collects.
//!
//! Failure mode: an invalid `EBB_LOG` is ignored.

use tracing_subscriber::EnvFilter;

/// The default filter. Warnings of the Kubernetes client library are excluded: the programs log the same problems,
/// once.
const UNLESS_ASKED: &str = "info,kube_client=error,kube_runtime=error";

/// Starts the log with the filter in `EBB_LOG`, in the syntax of [`EnvFilter`]. Call it once, before anything else.
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
