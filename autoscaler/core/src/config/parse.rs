//! Parses each key into a `Config`, and checks that each value is within the range of its key.
//!
//! If a value is refused, `Config` keeps the default for this key, so that the checks across keys can still run and
//! report.

use std::collections::BTreeMap;

use super::Config;
use crate::{
    class::Class,
    duration::GoDuration,
    nearest::nearest,
    problem::{Fault, Problem},
    value,
};

/// All known keys. For an unknown key, the error message suggests the most similar known key.
const KEYS: &[&str] = &[
    "container-concurrency-target-percentage",
    "container-concurrency-target-default",
    "requests-per-second-target-default",
    "target-burst-capacity",
    "stable-window",
    "panic-window-percentage",
    "panic-threshold-percentage",
    "max-scale-up-rate",
    "max-scale-down-rate",
    "enable-scale-to-zero",
    "scale-to-zero-grace-period",
    "scale-to-zero-pod-retention-period",
    "scale-down-delay",
    "pod-autoscaler-class",
    "activator-capacity",
    "initial-scale",
    "allow-zero-initial-scale",
    "min-scale",
    "max-scale",
    "max-scale-limit",
    "burst-window",
];

pub(super) fn parse<'a>(
    data: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (Config, Vec<Problem>) {
    let mut config = Config::default();
    let mut problems = Vec::new();
    // The keys are sorted, so that the same map always gives the same errors in the same order.
    for (key, value) in data.into_iter().collect::<BTreeMap<_, _>>() {
        if let Err(fault) = set(&mut config, key, value) {
            problems.push(Problem {
                key: key.to_owned(),
                fault,
            });
        }
    }
    (config, problems)
}

/// Parses `value` and sets the field for `key`.
fn set(config: &mut Config, key: &str, value: &str) -> Result<(), Fault> {
    match key {
        "container-concurrency-target-percentage" => config.target_fraction = fraction(value)?,
        "container-concurrency-target-default" => {
            config.concurrency_target = value::float(value, "a number > 0")?;
        }
        "requests-per-second-target-default" => {
            config.rps_target = at_least(value, 0.01, "a number >= 0.01")?;
        }
        "target-burst-capacity" => config.target_burst_capacity = value::burst_capacity(value)?,
        "stable-window" => {
            config.stable_window = value::seconds_in(value, GoDuration::from_secs(6), value::HOUR)?;
        }
        "panic-window-percentage" => {
            config.panic_window_percentage =
                value::float_in(value, 1.0, 100.0, "a number from 1 to 100")?;
        }
        "panic-threshold-percentage" => {
            config.panic_threshold_percentage =
                value::float_in(value, 110.0, 1000.0, "a number from 110 to 1000")?;
        }
        "max-scale-up-rate" => config.max_scale_up_rate = above_one(value)?,
        "max-scale-down-rate" => config.max_scale_down_rate = above_one(value)?,
        "enable-scale-to-zero" => config.scale_to_zero = value::boolean(value)?,
        "scale-to-zero-grace-period" => {
            // Knative sets no upper limit. The upper limit here is that of Go's durations, 292 years.
            let (low, high) = (GoDuration::default(), GoDuration::from_secs(i64::MAX));
            let grace = value::duration_in(value, low, high)?;
            if grace.is_zero() {
                return Err(Fault::Invalid {
                    value: value.to_owned(),
                    allowed: "a duration > 0",
                });
            }
            config.scale_to_zero_grace = grace;
        }
        "scale-to-zero-pod-retention-period" => {
            config.last_pod_retention =
                value::duration_in(value, GoDuration::default(), value::HOUR)?;
        }
        "scale-down-delay" => {
            config.scale_down_delay = value::seconds_in(value, GoDuration::default(), value::HOUR)?;
        }
        "pod-autoscaler-class" => config.class = Class::parse(value.trim())?,
        "activator-capacity" => config.activator_capacity = at_least(value, 1.0, "a number >= 1")?,
        "initial-scale" => config.initial_scale = value::pods(value)?,
        "allow-zero-initial-scale" => config.allow_zero_initial_scale = value::boolean(value)?,
        "min-scale" => config.min_scale = value::pods(value)?,
        "max-scale" => config.max_scale = value::pods(value)?,
        "max-scale-limit" => config.max_scale_limit = value::pods(value)?,
        "burst-window" => config.burst_window = value::burst_window(value)?,
        // `_example` is documentation within Knative's own config map, and not a setting.
        "_example" => {}
        _ => {
            return Err(Fault::Unknown {
                value: value.to_owned(),
                nearest: nearest(key, KEYS.iter().copied()),
            });
        }
    }
    Ok(())
}

/// Parses a percentage, or a fraction up to 1, which old config maps use.
///
/// Knative reads 1.01 as 1.01 % and 1 as 100 %, so a small slip changes the value by a factor of 99. Values between 1
/// and 2 are therefore refused.
fn fraction(value: &str) -> Result<f64, Fault> {
    const ALLOWED: &str = "a percentage > 1 and <= 100, or a fraction > 0 and <= 1";
    let number = value::float(value, ALLOWED)?;
    if number > 1.0 && number < 2.0 {
        return Err(Fault::Conflict(format!(
            "{value} could mean a fraction or a percentage: use at most 1 for a fraction (1 is 100 %), or 2 to 100 for a percentage"
        )));
    }
    if number <= 0.0 || number > 100.0 {
        return Err(Fault::Invalid {
            value: value.to_owned(),
            allowed: ALLOWED,
        });
    }
    Ok(if number > 1.0 { number / 100.0 } else { number })
}

fn at_least(value: &str, low: f64, allowed: &'static str) -> Result<f64, Fault> {
    match value::float(value, allowed)? {
        number if number >= low => Ok(number),
        _ => Err(Fault::Invalid {
            value: value.to_owned(),
            allowed,
        }),
    }
}

/// Parses a scale-up rate or a scale-down rate: the factor by which one decision may change the ready pods. With a rate
/// of 1 or below, nothing could ever be scaled.
fn above_one(value: &str) -> Result<f64, Fault> {
    const ALLOWED: &str = "a number > 1.0";
    match value::float(value, ALLOWED)? {
        number if number > 1.0 => Ok(number),
        _ => Err(Fault::Invalid {
            value: value.to_owned(),
            allowed: ALLOWED,
        }),
    }
}
