//! What is not known about a workload, and therefore keeps it from shrinking.
//!
//! Bias: missing knowledge never shrinks a workload. The workload may grow on what is known, and keeps its replicas
//! until the rest is known.
//!
//! Failure mode: what stays unknown keeps replicas that may not be needed. An Event, `/v1/workloads`, the live page and
//! a metric say what it is.

use std::{fmt, sync::Arc, time::Duration};

/// An Event reports what has been unknown for at least this long. A new ReplicaSet, or a node that restarts its agent,
/// is known again by then.
pub(super) const REPORTED_AFTER: Duration = Duration::from_secs(30);

/// The first thing that is not known about a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The facts from the API server are stale, so nobody knows what has changed.
    Facts(Arc<str>),
    /// Owners of pods in its namespace have not been followed yet, so some of its pods may not be known as its own.
    Owners {
        /// Number of these owners.
        count: usize,
        /// Kind and name of one of them.
        example: Box<str>,
    },
    /// None of its pods has been measured yet.
    Unmeasured,
    /// Its load has been measured for less than a stable window; this is the time that is left.
    Window(Duration),
    /// Pods that may be serving have no current metrics.
    Metrics {
        /// Number of these pods.
        count: usize,
        /// Name of one of them.
        example: Box<str>,
    },
}

impl Unknown {
    /// Returns its label value in the metric.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Facts(_) => "facts",
            Self::Owners { .. } => "owners",
            Self::Unmeasured => "unmeasured",
            Self::Window(_) => "window",
            Self::Metrics { .. } => "metrics",
        }
    }

    /// Returns whether it needs attention. `Unmeasured` does not: pods that have not started yet report that
    /// themselves. `Window` does not: it ends by itself.
    pub(super) fn needs_attention(&self) -> bool {
        !matches!(self, Self::Unmeasured | Self::Window(_))
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Facts(why) => f.write_str(why),
            Self::Owners { count, example } => write!(
                f,
                "{count} owners of pods in its namespace are not resolved yet, {example} for one"
            ),
            Self::Unmeasured => f.write_str("none of its pods has been measured yet"),
            Self::Window(left) => write!(
                f,
                "its traffic has not been measured for a whole stable window yet; {} s are left",
                left.as_millis().div_ceil(1_000)
            ),
            Self::Metrics { count, example } => write!(
                f,
                "{count} pods that may be serving have no current metrics, {example} for one; is ebb-agent running on their nodes?"
            ),
        }
    }
}
