//! The settings of the whole cluster: Knative's `config-autoscaler`, and Ebb's one key beside it.
//!
//! Bias: a ConfigMap applies as a whole or not at all. An invalid one is rejected with all of its problems, and the caller
//! keeps the previous settings. Without previous settings no decision is made.

mod check;
mod parse;

use std::time::Duration;

use crate::{
    class::Class,
    problem::{Problem, Problems},
};

/// `config-autoscaler`, read and checked. `Config::default()` is an empty config map.
///
/// Fields are public for a caller that builds one in code (a test, a simulation);
/// [`Config::from_map`] is what guards the ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Share of the target at which a pod counts as busy, for concurrency. Fraction in (0, 1].
    pub target_fraction: f64,
    /// Target of a workload that names none and has no hard limit. Requests in flight a pod, > 0.
    pub concurrency_target: f64,
    /// Target of a workload that scales on requests per second and names none. Requests/s a pod, ≥
    /// 0.01.
    pub rps_target: f64,
    /// Requests in flight kept in reserve before the activator leaves the path; -1: it never
    /// leaves.
    pub target_burst_capacity: f64,
    /// Length of the window for calm decisions. Whole seconds, 6 s to 1 h.
    pub stable_window: Duration,
    /// Length of the window that sees bursts. Per cent of the stable window, 1 to 100.
    pub panic_window_percentage: f64,
    /// Load, in per cent of what the ready pods can bear, from which it is a panic. 110 to 1000.
    pub panic_threshold_percentage: f64,
    /// The most one decision multiplies the ready pods by. > 1.
    pub max_scale_up_rate: f64,
    /// The most one decision divides the ready pods by. > 1.
    pub max_scale_down_rate: f64,
    /// Whether the last pod may go.
    pub scale_to_zero: bool,
    /// Time the activator must have been in the path before the last pod goes. > 0.
    pub scale_to_zero_grace: Duration,
    /// Time the last pod is kept after it became idle. 0 to 1 h.
    pub last_pod_retention: Duration,
    /// Time for which a lower figure must last before it is acted on. Whole seconds, 0 to 1 h.
    pub scale_down_delay: Duration,
    /// Class of a workload that names none.
    pub class: Class,
    /// Requests in flight one activator can hold. ≥ 1.
    pub activator_capacity: f64,
    /// Pods a new revision starts with.
    pub initial_scale: u32,
    /// Whether a revision may start with no pod.
    pub allow_zero_initial_scale: bool,
    /// Fewest pods of a workload that names no bound.
    pub min_scale: u32,
    /// Most pods of a workload that names no bound; 0: no limit.
    pub max_scale: u32,
    /// Greatest `max-scale` a workload may ask for; 0: no limit.
    pub max_scale_limit: u32,
    /// Length of the burst window of class `ebb.dev` (key `burst-window`); 0 turns it off.
    pub burst_window: Duration,
}

impl Default for Config {
    /// Knative Serving 1.23's defaults.
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
            // A quarter second tells a burst from a lone slow request, and is gone before a person
            // notices.
            burst_window: Duration::from_millis(250),
        }
    }
}

impl Config {
    /// Reads the `data` of a `config-autoscaler` ConfigMap. Keys that are absent keep their
    /// default; `_example`, which Knative ships in its own, is skipped.
    ///
    /// # Errors
    /// Everything that is wrong with it: unreadable values, values out of range, keys that
    /// contradict each other, and keys that nobody reads.
    pub fn from_map<'a>(
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Problems> {
        let (config, problems) = Self::from_map_lossy(data);
        Problems::none_or(problems, config)
    }

    /// Reads what can be read, for a checker that goes on to judge workloads under this config map.
    /// Keys that are refused stand at their default; what contradicts another key stands as
    /// written. Never to be decided with.
    pub fn from_map_lossy<'a>(
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> (Self, Vec<Problem>) {
        let (config, mut problems) = parse::parse(data);
        check::check(&config, &mut problems);
        (config, problems)
    }
}
