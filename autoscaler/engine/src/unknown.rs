//! Missing facts about a workload, which prevent a scale-down of the workload.
//!
//! Bias: while a fact is missing, a workload is never scaled down. The known facts may scale the workload up.
//!
//! Failure mode: while a fact stays missing, a workload keeps replicas that it may not need. An Event, `/v1/workloads`,
//! the status page and a metric name the missing fact.

use std::{fmt, sync::Arc, time::Duration};

/// Time for which a fact must be missing before an Event reports the missing fact. Shorter gaps are normal: the owner
/// of a new ReplicaSet is not resolved yet, or the agent of a node restarts.
pub(super) const REPORTED_AFTER: Duration = Duration::from_secs(30);

/// A missing fact about a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The facts from the API server are stale, for this reason.
    Facts(Arc<str>),
    /// Owners of pods in the namespace have not been resolved yet. These pods may belong to the workload.
    Owners {
        /// Number of owners that are not resolved.
        count: usize,
        /// Kind and name of one owner that is not resolved.
        example: Box<str>,
    },
    /// The load of no pod of the workload has been measured yet.
    Unmeasured,
    /// The load has been measured for less than a stable window. The value is the remaining time.
    Window(Duration),
    /// Pods that may be serving requests have no current metrics.
    Metrics {
        /// Number of pods without current metrics.
        count: usize,
        /// Name of one pod without current metrics.
        example: Box<str>,
    },
}

impl Unknown {
    /// Returns the label value of this missing fact in the metric `ebb_workload_unknown`.
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

    /// Returns whether an Event should report the missing fact. `Unmeasured` needs no Event, because Kubernetes itself
    /// reports pods that do not start. `Window` needs no Event, because the time passes without any action.
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
                "{count} owners of pods in the namespace are not resolved yet, for example {example}"
            ),
            Self::Unmeasured => f.write_str("the load of no pod has been measured yet"),
            Self::Window(left) => write!(
                f,
                "the load has not been measured for a whole stable window yet; {} s remain",
                left.as_millis().div_ceil(1_000)
            ),
            Self::Metrics { count, example } => write!(
                f,
                "{count} pods that may be serving have no current metrics, for example {example}; is ebb-agent running on their nodes?"
            ),
        }
    }
}
