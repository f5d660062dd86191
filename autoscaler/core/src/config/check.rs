//! Rules that concern several keys of a config map.

use super::Config;
use crate::{
    problem::{Fault, Problem},
    settings::TARGET_MIN,
};

pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    // If the value of a key is invalid, `config` has the default for this key. Rules that compare this key with other
    // keys are not checked, because the user did not write the default.
    let refused: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    let mut conflict = |keys: &[&str], message: String| {
        if !keys
            .iter()
            .any(|key| refused.iter().any(|refused| refused == key))
        {
            problems.push(Problem {
                key: keys[0].to_owned(),
                fault: Fault::Conflict(message),
            });
        }
    };

    let Config {
        target_fraction,
        concurrency_target,
        initial_scale,
        min_scale,
        max_scale,
        max_scale_limit,
        ..
    } = *config;
    let target = target_fraction * concurrency_target;
    // The condition is negated, so that the check also fails if the product is NaN.
    if !(target >= TARGET_MIN && target.is_finite()) {
        conflict(
            &[
                "container-concurrency-target-default",
                "container-concurrency-target-percentage",
            ],
            format!(
                "{concurrency_target} at container-concurrency-target-percentage {}% is a target of {target}: must be at least {TARGET_MIN}",
                target_fraction * 100.0
            ),
        );
    }
    if initial_scale == 0 && !config.allow_zero_initial_scale {
        conflict(
            &["initial-scale", "allow-zero-initial-scale"],
            "must be at least 1; 0 is allowed only if allow-zero-initial-scale is true".to_owned(),
        );
    }
    if max_scale_limit > 0 && !(1..=max_scale_limit).contains(&max_scale) {
        conflict(
            &["max-scale", "max-scale-limit"],
            format!("max-scale={max_scale} must be from 1 to max-scale-limit={max_scale_limit}"),
        );
    }
    if max_scale > 0 && min_scale > max_scale {
        conflict(
            &["min-scale", "max-scale"],
            format!(
                "min-scale={min_scale} is greater than max-scale={max_scale} (max-scale=0 means no limit)"
            ),
        );
    }
}
