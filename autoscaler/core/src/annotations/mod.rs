//! The annotations of one workload: its own settings.
//!
//! Bias: nothing is ignored silently. An unknown key in Knative's or Ebb's group is reported, like an invalid value,
//! and all errors are reported at once. Keys of other groups are ignored.

mod check;
mod keys;
mod own;

use std::{collections::BTreeMap, time::Duration};

use self::keys::Key;
pub use self::{
    keys::{EBB, KNATIVE},
    own::{Hop, Mode},
};
use crate::{
    class::{Aggregation, Class, Metric},
    config::Config,
    duration::GoDuration,
    problem::{Fault, Problem, Problems},
    settings::TARGET_MIN,
    value,
};

/// The parsed annotations of a workload; `None` or empty if an annotation is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotations {
    /// `class`: the autoscaler that scales the workload.
    pub class: Option<Class>,
    /// `metric`: the metric that is compared with the target.
    pub metric: Option<Metric>,
    /// `target`: requests in flight per pod or requests/s per pod, ≥ 0.01.
    pub target: Option<f64>,
    /// `target-utilization-percentage`: share of the target that a pod is to reach, in per cent, 1 to 100.
    pub target_utilization: Option<f64>,
    /// `target-burst-capacity`: requests in flight, ≥ 0; -1: the activator is always in the request path.
    pub target_burst_capacity: Option<f64>,
    /// `min-scale`: minimum number of pods.
    pub min_scale: Option<u32>,
    /// `max-scale`: maximum number of pods; 0: no limit.
    pub max_scale: Option<u32>,
    /// `initial-scale`: number of pods that a new workload starts with.
    pub initial_scale: Option<u32>,
    /// `activation-scale`: minimum number of pods while there is any load, ≥ 2.
    pub activation_scale: Option<u32>,
    /// `window`: length of the stable window. Whole seconds, 6 s to 1 h.
    pub window: Option<Duration>,
    /// `panic-window-percentage`: length of the panic window in per cent of the stable window, 1 to 100.
    pub panic_window_percentage: Option<f64>,
    /// `panic-threshold-percentage`: load at which panic mode begins, in per cent of the capacity at target of the
    /// ready pods, 110 to 1000.
    pub panic_threshold_percentage: Option<f64>,
    /// `scale-down-delay`: time for which a lower number of desired pods must last before it is applied. Whole seconds,
    /// 0 to 1 h.
    pub scale_down_delay: Option<Duration>,
    /// `scale-to-zero-pod-retention-period`: time for which the last pod is kept after the workload became idle. 0 to
    /// 1 h.
    pub retention: Option<Duration>,
    /// `metric-aggregation-algorithm`: how samples are averaged.
    pub aggregation: Option<Aggregation>,
    /// `serving.knative.dev/progress-deadline`: time that the start of the workload may take before it counts as
    /// failed, ≥ 0.
    pub progress_deadline: Option<Duration>,
    /// `ebb.dev/burst-window`: length of the burst window, 50 ms to 6 s; 0 turns it off.
    pub burst_window: Option<Duration>,
    /// `ebb.dev/ports`: ports whose connections are counted, at most 16; empty: every listening port.
    pub ports: Vec<u16>,
    /// `ebb.dev/exclude-paths`: paths whose requests are not counted.
    pub exclude_paths: Vec<String>,
    /// `ebb.dev/hop`: the hop at which requests are counted.
    pub hop: Option<Hop>,
    /// `ebb.dev/mode`: whether decisions are applied.
    pub mode: Mode,
    /// `ebb.dev/hard-limit`: hard limit of concurrent requests on one pod, at most 1000; 0: no limit.
    pub hard_limit: Option<u32>,
}

/// Returns whether [`Annotations::parse`] validates an annotation with this name. [`Annotations::parse`] ignores all
/// other annotations.
pub fn is_read(name: &str) -> bool {
    name.starts_with(KNATIVE) || name.starts_with(EBB) || name == keys::PROGRESS_DEADLINE
}

impl Annotations {
    /// Parses a workload's annotations, and checks them with the cluster's `config`.
    ///
    /// # Errors If there are errors in the annotations. All errors are returned.
    pub fn parse<'a>(
        config: &Config,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Problems> {
        let given: BTreeMap<&str, &str> = annotations.into_iter().collect();
        let mut problems = Vec::new();
        let mut read = Self::default();
        let class = check::class_and_metric(config, &given, &mut read, &mut problems);
        for (&name, &text) in &given {
            let result = match Key::find(name) {
                // The annotations have both spellings of the key: the kebab-case spelling applies, and the camelCase
                // alias is ignored.
                Some(key) if key.is_alias(name) && given.contains_key(key.name().as_str()) => {
                    Ok(())
                }
                Some(key) => read.set(key, text, config, &class),
                None if name == keys::PROGRESS_DEADLINE => {
                    progress_deadline(text).map(|deadline| read.progress_deadline = Some(deadline))
                }
                None if name.starts_with(KNATIVE) || name.starts_with(EBB) => Err(Fault::Unknown {
                    value: text.to_owned(),
                    nearest: Key::nearest(name),
                }),
                None => Ok(()),
            };
            if let Err(fault) = result {
                problems.push(Problem {
                    key: name.to_owned(),
                    fault,
                });
            }
        }
        check::bounds(config, &given, &read, &mut problems);
        Problems::none_or(problems, read)
    }

    /// Sets the value of one key. `class` is the class that applies to the workload.
    fn set(
        &mut self,
        key: Key,
        text: &str,
        config: &Config,
        class: &check::ClassInForce,
    ) -> Result<(), Fault> {
        let (zero, hour) = (GoDuration::default(), value::HOUR);
        match key {
            // Class and metric are parsed before all other keys, because the other keys depend on them.
            Key::Class | Key::Metric => {}
            Key::Target => self.target = Some(target(text)?),
            Key::TargetUtilization => {
                self.target_utilization =
                    Some(value::float_in(text, 1.0, 100.0, "a number from 1 to 100")?);
            }
            Key::TargetBurstCapacity => {
                self.target_burst_capacity = Some(value::burst_capacity(text)?)
            }
            Key::MinScale => self.min_scale = Some(value::pods(text)?),
            Key::MaxScale => self.max_scale = Some(value::pods(text)?),
            Key::InitialScale => self.initial_scale = Some(initial_scale(text, config)?),
            Key::ActivationScale => self.activation_scale = Some(activation_scale(text)?),
            Key::Window => {
                self.window = Some(value::seconds_in(text, GoDuration::from_secs(6), hour)?)
            }
            Key::PanicWindow => {
                self.panic_window_percentage =
                    Some(value::float_in(text, 1.0, 100.0, "a number from 1 to 100")?);
            }
            Key::PanicThreshold => {
                self.panic_threshold_percentage = Some(value::float_in(
                    text,
                    110.0,
                    1000.0,
                    "a number from 110 to 1000",
                )?);
            }
            Key::ScaleDownDelay => {
                self.scale_down_delay = Some(value::seconds_in(text, zero, hour)?)
            }
            Key::Retention => self.retention = Some(value::duration_in(text, zero, hour)?),
            Key::Aggregation => self.aggregation = class.aggregation(text)?,
            Key::BurstWindow => self.burst_window = Some(value::burst_window(text)?),
            Key::Ports => self.ports = own::ports(text)?,
            Key::ExcludePaths => self.exclude_paths = own::exclude_paths(text)?,
            Key::Hop => self.hop = Some(Hop::parse(text)?),
            Key::Mode => self.mode = Mode::parse(text)?,
            Key::HardLimit => self.hard_limit = Some(own::hard_limit(text)?),
        }
        Ok(())
    }
}

fn target(text: &str) -> Result<f64, Fault> {
    match value::float(text, "a number >= 0.01")? {
        number if number >= TARGET_MIN => Ok(number),
        _ => Err(Fault::Conflict(format!(
            "target {text} should be at least {TARGET_MIN}"
        ))),
    }
}

fn initial_scale(text: &str, config: &Config) -> Result<u32, Fault> {
    let number = value::integer(text, "a whole number from 1 to 2147483647")?;
    if number < 0 {
        return Err(Fault::Conflict(format!(
            "invalid value {text:?}: must be greater than 0"
        )));
    }
    match value::pods(text)? {
        0 if !config.allow_zero_initial_scale => Err(Fault::Conflict(
            "=0 not allowed by cluster (allow-zero-initial-scale is false): must be greater than 0"
                .to_owned(),
        )),
        pods => Ok(pods),
    }
}

/// Parses an activation scale as a number of pods. As in Knative, the rule that it is at least 2 is checked last
/// (`check::bounds`).
fn activation_scale(text: &str) -> Result<u32, Fault> {
    let number = value::integer(text, "a whole number from 2 to 2147483647")?;
    if number > i64::from(value::MAX_PODS) {
        return Err(Fault::OutOfRange {
            value: text.to_owned(),
            low: "2".to_owned(),
            high: value::MAX_PODS.to_string(),
        });
    }
    // A negative activation scale becomes 0. `check::bounds` refuses 0 like a negative value, because both are below 2.
    Ok(u32::try_from(number).unwrap_or(0))
}

fn progress_deadline(text: &str) -> Result<Duration, Fault> {
    value::duration_in(text, GoDuration::default(), GoDuration::from_secs(i64::MAX))
}
