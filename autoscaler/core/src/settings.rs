//! The settings of one workload, from the cluster's config and the workload's annotations.
//!
//! [`Settings`] is everything that a decision reads, and nothing else. Values are in the units of the computation:
//! fractions, not percentages; durations, not shares of other durations. The settings may be replaced while the
//! workload runs.

use std::time::Duration;

use crate::{
    annotations::Annotations,
    class::{Aggregation, Class, Metric},
    config::Config,
};

/// The lowest target, in requests in flight per pod or requests/s per pod. Knative's `TargetMin`.
pub const TARGET_MIN: f64 = 0.01;

/// Utilisation for metrics other than concurrency. As in Knative, it cannot be configured.
const OTHER_UTILIZATION: f64 = 0.7;

/// Progress deadline of a workload whose annotations name none: the default of a Kubernetes Deployment.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);

/// The shortest panic window: one bucket of the window (1 s).
const BUCKET: Duration = Duration::from_secs(1);

/// The settings of one workload. `Settings::default()` is a workload without annotations under an
/// empty config map.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The autoscaler of the workload.
    pub class: Class,
    /// The metric that is compared with the target.
    pub metric: Metric,
    /// Target per pod: `total` times the utilisation. ≥ 0.01.
    pub target: f64,
    /// Load that one pod can serve: the target before the utilisation is applied.
    pub total: f64,
    /// Hard limit of concurrent requests on one pod; 0: no limit.
    pub hard_limit: u32,
    /// Target burst capacity, in requests in flight; -1: the activator is always in the request path.
    pub target_burst_capacity: f64,
    /// How the samples of a window are averaged.
    pub aggregation: Aggregation,
    /// Length of the stable window. Whole seconds.
    pub stable_window: Duration,
    /// Length of the panic window. Whole seconds, ≥ 1 s.
    pub panic_window: Duration,
    /// Panic threshold: load as a multiple of the capacity at target of the ready pods.
    pub panic_threshold: f64,
    /// Length of the burst window; zero if it is off or the class has no burst window.
    pub burst_window: Duration,
    /// Largest factor by which one decision multiplies the ready pods. > 1.
    pub max_scale_up_rate: f64,
    /// Largest factor by which one decision divides the ready pods. > 1.
    pub max_scale_down_rate: f64,
    /// Time for which a lower number of desired pods must last before it is applied; zero: no delay.
    pub scale_down_delay: Duration,
    /// Minimum number of pods.
    pub min_scale: u32,
    /// Maximum number of pods; 0: no limit.
    pub max_scale: u32,
    /// Number of pods that a new workload starts with.
    pub initial_scale: u32,
    /// Minimum number of pods while there is any load; 0 or 1: off.
    pub activation_scale: u32,
    /// Whether the last pod of the workload may be removed (scale to zero).
    pub scale_to_zero: bool,
    /// Time that the activator must have been in the request path before the last pod is removed.
    pub scale_to_zero_grace: Duration,
    /// Time for which the last pod is kept after the workload became idle.
    pub last_pod_retention: Duration,
    /// Time that the start of a workload may take before it counts as failed. [`crate::reconcile`] adds 30 s to this
    /// value.
    pub progress_deadline: Duration,
    /// Requests in flight that one activator can serve.
    pub activator_capacity: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self::resolve(&Config::default(), &Annotations::default(), 0)
    }
}

impl Settings {
    /// Combines the settings of the cluster and the annotations of the workload.
    ///
    /// `container_concurrency` is the hard limit of concurrent requests per pod in a Knative revision
    /// (`containerConcurrency`); it takes precedence over `ebb.dev/hard-limit`. 0 means that it is not set.
    pub fn resolve(config: &Config, annotations: &Annotations, container_concurrency: u32) -> Self {
        let class = annotations
            .class
            .clone()
            .unwrap_or_else(|| config.class.clone());
        let metric = annotations
            .metric
            .clone()
            .unwrap_or_else(|| class.default_metric());
        let hard_limit = match container_concurrency {
            0 => annotations.hard_limit.unwrap_or(0),
            limit => limit,
        };
        let (target, total) = target(config, annotations, &metric, hard_limit);
        let stable_window = annotations.window.unwrap_or(config.stable_window);
        let panic_percentage = annotations
            .panic_window_percentage
            .unwrap_or(config.panic_window_percentage);
        let threshold = annotations
            .panic_threshold_percentage
            .unwrap_or(config.panic_threshold_percentage);
        let initial_scale = match annotations.initial_scale {
            // The annotation asks for zero initial pods, and `allow-zero-initial-scale` is false now. The annotation
            // was valid when it was written. As in Knative, the default of the cluster applies.
            Some(0) if !config.allow_zero_initial_scale => config.initial_scale,
            Some(pods) => pods,
            None => config.initial_scale,
        };
        let burst_window = match class {
            Class::Ebb => annotations.burst_window.unwrap_or(config.burst_window),
            Class::Kpa | Class::Hpa | Class::Other(_) => Duration::ZERO,
        };
        Self {
            target,
            total,
            hard_limit,
            target_burst_capacity: annotations
                .target_burst_capacity
                .unwrap_or(config.target_burst_capacity),
            aggregation: annotations.aggregation.unwrap_or_default(),
            stable_window,
            panic_window: panic_window(stable_window, panic_percentage),
            panic_threshold: threshold / 100.0,
            burst_window,
            max_scale_up_rate: config.max_scale_up_rate,
            max_scale_down_rate: config.max_scale_down_rate,
            scale_down_delay: annotations
                .scale_down_delay
                .unwrap_or(config.scale_down_delay),
            min_scale: annotations.min_scale.unwrap_or(config.min_scale),
            max_scale: annotations.max_scale.unwrap_or(config.max_scale),
            initial_scale,
            activation_scale: annotations.activation_scale.unwrap_or(0),
            scale_to_zero: config.scale_to_zero,
            scale_to_zero_grace: config.scale_to_zero_grace,
            last_pod_retention: annotations.retention.unwrap_or(config.last_pod_retention),
            progress_deadline: annotations.progress_deadline.unwrap_or(PROGRESS_DEADLINE),
            activator_capacity: config.activator_capacity,
            class,
            metric,
        }
    }
}

/// Returns (target, total) per pod, as Knative's `ResolveMetricTarget` does.
fn target(
    config: &Config,
    annotations: &Annotations,
    metric: &Metric,
    hard_limit: u32,
) -> (f64, f64) {
    let limit = (hard_limit != 0).then(|| f64::from(hard_limit));
    let (default, utilization) = match metric {
        Metric::Rps => (config.rps_target, OTHER_UTILIZATION),
        Metric::Concurrency | Metric::Named(_) => (
            limit.unwrap_or(config.concurrency_target),
            config.target_fraction,
        ),
    };
    let total = match (annotations.target, limit) {
        (None, _) => default,
        // A target above the hard limit of a pod could not be reached.
        (Some(target), Some(limit)) if *metric == Metric::Concurrency => target.min(limit),
        (Some(target), _) => target,
    };
    let utilization = annotations
        .target_utilization
        .map_or(utilization, |percentage| percentage / 100.0);
    ((total * utilization).max(TARGET_MIN), total)
}

/// Returns the length of the panic window: `percentage` per cent of the stable window, rounded to the nearest second
/// (halves up), and at least one bucket.
pub fn panic_window(stable: Duration, percentage: f64) -> Duration {
    // The computation uses nanoseconds and the same order of operations as Knative's, so that halves are rounded in the
    // same direction.
    let nanos = stable.as_nanos() as f64 * percentage / 100.0;
    let seconds = (nanos.trunc() / 1e9).round();
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(BUCKET)
        .max(BUCKET)
}
