//! What is not known of a workload, and therefore keeps it from shrinking.
//!
//! Bias: missing knowledge never shrinks anything. A workload may grow on what is known, and holds its replicas until the
//! rest is known. Failure mode: what stays unknown keeps replicas that may not be needed; an Event, `/v1/workloads`, the
//! live page and a metric say what it is.

use std::{fmt, sync::Arc, time::Duration};

/// An Event tells of what is unknown for longer than this: a new ReplicaSet or a node that restarts its agent is over by
/// then.
pub(super) const TOLD_AFTER: Duration = Duration::from_secs(30);

/// The first thing that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The API server has not been heard of for too long, so nobody knows what has changed.
    Facts(Arc<str>),
    /// Owners of pods in its namespace are not followed yet: some of its pods may not be known as its own.
    Owners {
        /// How many owners.
        count: usize,
        /// Kind and name of one.
        example: Box<str>,
    },
    /// No pod of it has been measured yet.
    Unmeasured,
    /// Its load has been measured for less than a stable window; for this much longer it will be.
    Window(Duration),
    /// Pods that may be serving have no current metrics.
    Metrics {
        /// How many pods.
        count: usize,
        /// Name of one.
        example: Box<str>,
    },
}

impl Unknown {
    /// The label of the metric that tells of it.
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

    /// Whether somebody should look at it. Pods that have not started yet tell of themselves, and time passes by itself.
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
