//! Rules that concern several annotations: the values that the class allows, and the order of minimum, activation scale
//! and maximum.

use std::collections::BTreeMap;

use super::{
    Annotations,
    keys::{KNATIVE, Key},
};
use crate::{
    class::{Aggregation, Class},
    config::Config,
    problem::{Fault, Problem},
};

/// The autoscaler class of a workload. It determines which values the other annotations may have.
pub(super) struct ClassInForce {
    class: Class,
    named: bool,
}

impl ClassInForce {
    /// Parses an aggregation algorithm. An unknown name is an error only if the class annotation names a class that
    /// this crate implements.
    ///
    /// Knative allows other algorithms for custom autoscalers, and treats an unknown algorithm as linear. Likewise,
    /// this function returns `None`, which means linear.
    pub(super) fn aggregation(&self, text: &str) -> Result<Option<Aggregation>, Fault> {
        match Aggregation::parse(text) {
            Err(fault) if self.named && self.class.is_ours() => Err(fault),
            result => Ok(result.ok()),
        }
    }
}

/// Parses class and metric, which other keys depend on. If the class is invalid, the other keys are checked with the
/// default class.
pub(super) fn class_and_metric(
    config: &Config,
    given: &BTreeMap<&str, &str>,
    read: &mut Annotations,
    problems: &mut Vec<Problem>,
) -> ClassInForce {
    let mut keep = |key: Key, fault| {
        problems.push(Problem {
            key: key.name(),
            fault,
        })
    };
    let class_text = given.get(Key::Class.name().as_str());
    match class_text.map(|text| Class::parse(text)) {
        Some(Ok(class)) => read.class = Some(class),
        Some(Err(fault)) => keep(Key::Class, fault),
        None => {}
    }
    let class = read.class.clone().unwrap_or_else(|| config.class.clone());
    match given
        .get(Key::Metric.name().as_str())
        .map(|text| class.metric(text))
    {
        Some(Ok(metric)) => read.metric = Some(metric),
        // If the class itself is invalid, there is no class to check the metric with.
        Some(Err(_)) if class_text.is_some() && read.class.is_none() => {}
        Some(Err(fault)) => keep(Key::Metric, fault),
        None => {}
    }
    ClassInForce {
        class,
        named: class_text.is_some(),
    }
}

/// Checks minimum, maximum, activation scale and the cluster's limit against each other. Like Knative, this function
/// compares the annotations only with each other and not with the defaults of the config map: an absent minimum is 0
/// here, and an absent maximum means no limit.
pub(super) fn bounds(
    config: &Config,
    given: &BTreeMap<&str, &str>,
    read: &Annotations,
    problems: &mut Vec<Problem>,
) {
    // Returns a key in the spelling that the user wrote.
    let written = |key: Key| {
        given
            .keys()
            .find(|name| Key::find(name) == Some(key))
            .map_or_else(|| key.name(), |&name| name.to_owned())
    };
    let mut conflict = |key: Key, fault| {
        problems.push(Problem {
            key: written(key),
            fault,
        })
    };

    let (min, max) = (read.min_scale.unwrap_or(0), read.max_scale.unwrap_or(0));
    if max != 0 && max < min {
        let fault = Fault::Conflict(format!("max-scale={max} is less than min-scale={min}"));
        conflict(Key::MaxScale, fault);
    }
    if let (limit @ 1.., Some(max)) = (config.max_scale_limit, read.max_scale) {
        if max > limit {
            conflict(
                Key::MaxScale,
                Fault::OutOfRange {
                    value: max.to_string(),
                    low: "1".to_owned(),
                    high: limit.to_string(),
                },
            );
        }
        if max == 0 {
            conflict(
                Key::MaxScale,
                Fault::Conflict(format!(
                    "max-scale=0 (unlimited), must be less than {limit}"
                )),
            );
        }
    }
    if let Some(activation) = read.activation_scale {
        // The error message shows the text that the user wrote, because a negative value was parsed as 0.
        let text = given
            .get(format!("{KNATIVE}activation-scale").as_str())
            .copied()
            .unwrap_or_default();
        let message = if min > activation {
            Some(format!(
                "min-scale={min} is greater than activation-scale={text}"
            ))
        } else if max != 0 && max < activation {
            Some(format!(
                "max-scale={max} is less than activation-scale={text}"
            ))
        } else if activation < 2 {
            Some(format!("activation-scale={text} must be greater than 1"))
        } else {
            None
        };
        if let Some(message) = message {
            conflict(Key::ActivationScale, Fault::Conflict(message));
        }
    }
}
