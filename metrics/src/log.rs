//! The log of a program: lines on stderr, where the container's runtime takes them up.
//!
//! Failure mode: an `EBB_LOG` that cannot be read is passed over.

use tracing_subscriber::EnvFilter;

/// What the client library of Kubernetes warns of, the programs say themselves, and once.
const UNLESS_ASKED: &str = "info,kube_client=error,kube_runtime=error";

/// Begins it, with as much as `EBB_LOG` asks for, in the words of [`EnvFilter`]. To be called once, before all else.
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
