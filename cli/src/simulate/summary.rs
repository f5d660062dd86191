//! Computes the summary of a replay: the cost of the pods, and the effect on the requests.
//!
//! A second counts as under-provisioned if its concurrency (or requests per second) is more than the total capacity of
//! the ready pods. The capacity at target is lower. Bias: a pod costs from the time at which it is requested.

use std::time::Duration;

use ebb_autoscaler_core::{Decision, Metric, Settings};
use serde::Serialize;

use super::{input::Second, pods::Pods};

/// The summary of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Summary {
    /// Length of the trace, in seconds.
    pub(super) seconds: f64,
    /// Number of decisions.
    pub(super) decisions: u64,
    /// The sum over all seconds of the number of pods, including pods that are starting.
    pub(super) pod_seconds: f64,
    /// Highest number of pods.
    pub(super) most_pods: u32,
    /// Number of seconds in which the scaling metric is above the total capacity of the ready pods.
    pub(super) under_provisioned_seconds: f64,
    /// Number of under-provisioned seconds without any ready pod, in which requests would be queued.
    pub(super) held_seconds: f64,
    /// Highest number of requests in flight per ready pod, averaged over one second; `None` if no pod was ever ready.
    pub(super) highest_concurrency_per_ready_pod: Option<f64>,
    /// Number of decisions that increased the number of pods.
    pub(super) scale_ups: u64,
    /// Number of decisions that decreased the number of pods.
    pub(super) scale_downs: u64,
    /// Number of seconds in panic mode.
    pub(super) panic_seconds: f64,
    /// The settings of the replay.
    pub(super) settings: SummarySettings,
}

/// The settings that the summary refers to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SummarySettings {
    /// The metric that the workload is scaled on.
    pub(super) metric: &'static str,
    /// Target per pod, in the unit of the metric.
    pub(super) target: f64,
    /// Total capacity per pod, in the unit of the metric.
    pub(super) total: f64,
    /// Stable window, in seconds.
    pub(super) stable_window: u64,
    /// Panic window, in seconds.
    pub(super) panic_window: u64,
}

/// Collects the values of the summary, second by second.
#[derive(Debug)]
pub(super) struct SummaryBuilder {
    metric: Metric,
    panicking: bool,
    /// This field and the next three are sums of `Duration`s, because thousands of `f64` seconds would not add up
    /// exactly.
    passed: Duration,
    under_provisioned: Duration,
    without_pods: Duration,
    panic: Duration,
    summary: Summary,
}

impl SummaryBuilder {
    /// Creates an empty summary for a workload with `settings`.
    pub(super) fn new(settings: &Settings) -> SummaryBuilder {
        SummaryBuilder {
            metric: settings.metric.clone(),
            panicking: false,
            passed: Duration::ZERO,
            under_provisioned: Duration::ZERO,
            without_pods: Duration::ZERO,
            panic: Duration::ZERO,
            summary: Summary {
                seconds: 0.0,
                decisions: 0,
                pod_seconds: 0.0,
                most_pods: 0,
                under_provisioned_seconds: 0.0,
                held_seconds: 0.0,
                highest_concurrency_per_ready_pod: None,
                scale_ups: 0,
                scale_downs: 0,
                panic_seconds: 0.0,
                settings: SummarySettings {
                    metric: match settings.metric {
                        Metric::Rps => "rps",
                        Metric::Concurrency | Metric::Named(_) => "concurrency",
                    },
                    target: settings.target,
                    total: settings.total,
                    stable_window: settings.stable_window.as_secs(),
                    panic_window: settings.panic_window.as_secs(),
                },
            },
        }
    }

    /// Adds a row that lasted `length`. `pods` are the pods during this time.
    pub(super) fn second(&mut self, length: Duration, row: &Second, pods: &Pods) {
        let summary = &mut self.summary;
        self.passed += length;
        if self.panicking {
            self.panic += length;
        }
        summary.pod_seconds += f64::from(pods.all()) * length.as_secs_f64();
        summary.most_pods = summary.most_pods.max(pods.all());
        let ready = f64::from(pods.ready());
        let load = match self.metric {
            Metric::Rps => row.rps.unwrap_or(0.0),
            Metric::Concurrency | Metric::Named(_) => row.concurrency,
        };
        if load > ready * summary.settings.total {
            self.under_provisioned += length;
            if pods.ready() == 0 {
                self.without_pods += length;
            }
        }
        if pods.ready() > 0 {
            let each = row.concurrency / ready;
            let highest = summary
                .highest_concurrency_per_ready_pod
                .get_or_insert(each);
            *highest = highest.max(each);
        }
    }

    /// Adds a decision that was made while the workload had `pods` pods.
    pub(super) fn decided(&mut self, decision: &Decision, pods: u32) {
        self.summary.decisions += 1;
        self.panicking = decision.panic_mode;
        match decision.step.apply {
            Some(wanted) if wanted > pods => self.summary.scale_ups += 1,
            Some(wanted) if wanted < pods => self.summary.scale_downs += 1,
            _ => {}
        }
    }

    /// Returns the summary.
    pub(super) fn finish(self) -> Summary {
        Summary {
            seconds: self.passed.as_secs_f64(),
            under_provisioned_seconds: self.under_provisioned.as_secs_f64(),
            held_seconds: self.without_pods.as_secs_f64(),
            panic_seconds: self.panic.as_secs_f64(),
            ..self.summary
        }
    }
}
