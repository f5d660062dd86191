//! Finds the problems of one object, each as `KEY: message`.
//!
//! The decision code validates keys and values. This module checks the properties that only a manifest has: the place
//! of a key, the type of a value, the hard limit, and the ports behind a sidecar.

use ebb_autoscaler_core::{Annotations, Config, Problem, annotations::is_read};
use serde_json::{Map, Value};

use super::{
    object::{Object, Sort, text},
    place::{LIMIT, Places},
    sidecar,
};

/// The highest hard limit: Knative's `container-concurrency-max-limit`, in requests in flight.
const LARGEST_LIMIT: u64 = 1000;

/// The fields of a ConfigMap.
const CONFIG_MAP_FIELDS: [&str; 6] = [
    "apiVersion",
    "kind",
    "metadata",
    "data",
    "binaryData",
    "immutable",
];

/// Returns all problems of `object`. Annotations are validated against the cluster settings `config`.
pub(super) fn problems(object: &Object, config: &Config) -> Vec<String> {
    match object.sort {
        Sort::ConfigMap | Sort::Keys => settings(object),
        Sort::Pod | Sort::Templated { .. } => workload(object, config),
        Sort::Nothing => {
            vec![
                "kind: missing; expected a Kubernetes object, or the keys of config-autoscaler"
                    .to_owned(),
            ]
        }
    }
}

fn settings(object: &Object) -> Vec<String> {
    let mut found = Vec::new();
    if object.sort == Sort::ConfigMap {
        for (key, value) in object.value.as_object().into_iter().flatten() {
            if !CONFIG_MAP_FIELDS.contains(&key.as_str()) {
                found.push(misplaced(key, value, "settings must be put under \"data\""));
            }
        }
        if object
            .value
            .get("data")
            .is_some_and(|data| !data.is_object() && !data.is_null())
        {
            found.push("data: must be a map of keys to values".to_owned());
        }
    }
    if let Some(keys) = object.settings() {
        // A document with the bare keys of `config-autoscaler` is a file for `--config`, which accepts values without
        // quotes.
        let quoted = object.sort == Sort::ConfigMap;
        let validate = |texts: &[(&str, &str)]| Config::from_map_lossy(texts.iter().copied()).1;
        found.extend(problems_of(keys, |_| quoted, validate));
    }
    found
}

fn workload(object: &Object, config: &Config) -> Vec<String> {
    let places = Places::of(object);
    let mut found = Vec::new();
    for (key, value) in places.misplaced {
        let remedy = match (key, object.sort) {
            (LIMIT, Sort::Templated { revision: true }) => {
                "the field must be put under \"spec.template.spec\" to work"
            }
            (LIMIT, Sort::Pod) => "the field must be put under \"spec\" to work",
            (LIMIT, _) => {
                "only a Knative revision has this field; elsewhere use the annotation ebb.dev/hard-limit"
            }
            (_, Sort::Pod) => {
                "autoscaling annotations must be put under \"metadata.annotations\" to work"
            }
            _ => {
                "autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work"
            }
        };
        found.push(misplaced(key, value, remedy));
    }
    for annotations in places.annotations {
        let validate =
            |texts: &[(&str, &str)]| match Annotations::parse(config, texts.iter().copied()) {
                Ok(_) => Vec::new(),
                Err(problems) => problems.into_iter().collect(),
            };
        found.extend(problems_of(annotations, is_read, validate));
    }
    found.extend(places.limits.into_iter().filter_map(limit));
    found.extend(sidecar::problem(object));
    found
}

fn misplaced(key: &str, value: &Value, remedy: &str) -> String {
    format!(
        "{key}: value {:?} has no effect here: {remedy}",
        text(value)
    )
}

/// Returns the problems of `map`: those that `validate` finds, and one for each value that must be a string but is not,
/// because Kubernetes rejects it. `quoted` returns whether the value of a key must be a string. A value with both
/// problems gets one line.
fn problems_of(
    map: &Map<String, Value>,
    quoted: impl Fn(&str) -> bool,
    validate: impl FnOnce(&[(&str, &str)]) -> Vec<Problem>,
) -> Vec<String> {
    let texts: Vec<(&str, String)> = map
        .iter()
        .map(|(key, value)| (key.as_str(), text(value)))
        .collect();
    let pairs: Vec<(&str, &str)> = texts
        .iter()
        .map(|(key, text)| (*key, text.as_str()))
        .collect();
    let mut bare: Vec<&str> = map
        .iter()
        .filter(|(key, value)| quoted(key) && !value.is_string())
        .map(|(key, _)| key.as_str())
        .collect();
    let mut found = Vec::new();
    for problem in validate(&pairs) {
        let also = if bare.contains(&problem.key.as_str()) {
            " (and the value must be in quotes)"
        } else {
            ""
        };
        bare.retain(|key| *key != problem.key);
        found.push(format!("{problem}{also}"));
    }
    let bare = pairs.iter().filter(|(key, _)| bare.contains(key));
    found.extend(bare.map(|(key, text)| {
        format!("{key}: invalid value {text}: must be a string, in quotes: {text:?}")
    }));
    found
}

/// Returns the problem of the hard limit `value`, or `None` if the limit is valid.
fn limit(value: &Value) -> Option<String> {
    let allowed = match value {
        // A limit of null means the same as no limit.
        Value::Null => return None,
        Value::Number(number) => number.as_u64().is_some_and(|limit| limit <= LARGEST_LIMIT),
        _ => false,
    };
    (!allowed).then(|| match value {
        Value::Number(number) => format!("{LIMIT}: expected 0 <= {number} <= {LARGEST_LIMIT}"),
        other => format!(
            "{LIMIT}: invalid value {:?}: must be a whole number from 0 to {LARGEST_LIMIT}, not in quotes",
            text(other)
        ),
    })
}
