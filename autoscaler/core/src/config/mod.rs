//! The cluster-wide settings: Knative's `config-autoscaler`, plus one key of Ebb.
//!
//! Bias: a ConfigMap applies as a whole or not at all. If a ConfigMap is invalid, all of its problems are reported, and
//! the caller keeps the previous settings. Without previous settings no decision is made.

mod check;
mod parse;

use std::time::Duration;

use crate::{
    class::Class,
    problem::{Problem, Problems},
};

/// `config-autoscaler`, parsed and checked. `Config::default()` is an empty config map.
///
/// Fields are public for a caller that builds a `Config` in code (a test, a simulation); only [`Config::from_map`]
/// checks the ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Target utilisation for concurrency, as a fraction in (0, 1].
    pub target_fraction: f64,
    /// Concurrency target of a workload without its own target and without a hard limit. Unit: requests in flight per
    /// pod. > 0.
    pub concurrency_target: f64,
    /// Target of a workload that scales on requests per second and has no target of its own. Unit: requests/s per pod.
    /// ≥ 0.01.
    pub rps_target: f64,
    /// Target burst capacity, in requests in flight; -1: the activator is always in the request path.
    pub target_burst_capacity: f64,
    /// Length of the stable window, for decisions outside panic mode. Whole seconds, 6 s to 1 h.
    pub stable_window: Duration,
    /// Length of the panic window, which detects bursts. Per cent of the stable window, 1 to 100.
    pub panic_window_percentage: f64,
    /// Panic threshold: load in per cent of the capacity at target of the ready pods. 110 to 1000.
    pub panic_threshold_percentage: f64,
    /// Largest factor by which one decision multiplies the ready pods. > 1.
    pub max_scale_up_rate: f64,
    /// Largest factor by which one decision divides the ready pods. > 1.
    pub max_scale_down_rate: f64,
    /// Whether the last pod of a workload may be removed (scale to zero).
    pub scale_to_zero: bool,
    /// Time that the activator must have been in the request path before the last pod is removed. > 0.
    pub scale_to_zero_grace: Duration,
    /// Time for which the last pod is kept after the workload became idle. 0 to 1 h.
    pub last_pod_retention: Duration,
    /// Time for which a lower number of desired pods must last before it is applied. Whole seconds, 0 to 1 h.
    pub scale_down_delay: Duration,
    /// Class of a workload whose annotations name no class.
    pub class: Class,
    /// Requests in flight that one activator can serve. ≥ 1.
    pub activator_capacity: f64,
    /// Number of pods that a new revision starts with.
    pub initial_scale: u32,
    /// Whether a revision may start with zero pods.
    pub allow_zero_initial_scale: bool,
    /// Minimum number of pods of a workload without `min-scale`.
    pub min_scale: u32,
    /// Maximum number of pods of a workload without `max-scale`; 0: no limit.
    pub max_scale: u32,
    /// Largest `max-scale` that a workload may set; 0: no limit.
    pub max_scale_limit: u32,
    /// Length of the burst window of class `ebb.dev` (key `burst-window`); 0 turns it off.
    pub burst_window: Duration,
}

impl Default for Config {
    /// The defaults of Knative Serving 1.23.
    fn default() -> Self {
        Self {
            target_fraction: 0.7,
            concurrency_target: 100.0,
            rps_target: 200.0,
            target_burst_capacity: 211.0,
            stable_window: Duration::from_secs(60),
            panic_window_percentage: 10.0,
            panic_threshold_percentage: 200.0,
            max_scale_up_rate: 1000.0,
            max_scale_down_rate: 2.0,
            scale_to_zero: true,
            scale_to_zero_grace: Duration::from_secs(30),
            last_pod_retention: Duration::ZERO,
            scale_down_delay: Duration::ZERO,
            class: Class::Kpa,
            activator_capacity: 100.0,
            initial_scale: 1,
            allow_zero_initial_scale: false,
            min_scale: 0,
            max_scale: 0,
            max_scale_limit: 0,
            // 250 ms is long enough to distinguish a burst from a single slow request, and so short that people do not
            // notice the delay.
            burst_window: Duration::from_millis(250),
        }
    }
}

impl Config {
    /// Parses the `data` of a `config-autoscaler` ConfigMap. Absent keys have their default; `_example`, which
    /// Knative's own ConfigMap has, is ignored.
    ///
    /// # Errors If there are errors in `data`. All errors are returned: invalid values, values out of range, keys that
    /// contradict each other, and unknown keys.
    pub fn from_map<'a>(
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Problems> {
        let (config, problems) = Self::from_map_lossy(data);
        Problems::none_or(problems, config)
    }

    /// Parses as much as possible, for a checker that afterwards validates workloads with this config map. For a key
    /// with an invalid value, the result contains the default. A valid value that contradicts another key is kept. The
    /// result must not be used for decisions.
    pub fn from_map_lossy<'a>(
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> (Self, Vec<Problem>) {
        let (config, mut problems) = parse::parse(data);
        check::check(&config, &mut problems);
        (config, problems)
    }
}
