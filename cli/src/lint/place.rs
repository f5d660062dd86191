//! Finds the autoscaling keys in an object, and decides whether Ebb reads a key at its place.
//!
//! Ebb reads annotations of a pod template, wherever the template is in the object, and annotations of a pod. An
//! autoscaling key at any other place has no effect, and nothing else reports the mistake.

use ebb_autoscaler_core::annotations::is_read;
use ebb_contract::{allotments, slices};
use serde_json::{Map, Value};

use super::object::{Object, Sort};

/// The field of a Knative revision that limits requests in flight.
pub(super) const LIMIT: &str = "containerConcurrency";

/// Keys of Ebb that are not settings of a workload: labels for selectors, an annotation of Services that names their
/// pods, and keys of objects that Ebb creates.
const OTHERS: [&str; 7] = [
    "ebb.dev/aggregate-to-autoscaler",
    "ebb.dev/made",
    "ebb.dev/metrics",
    allotments::LABEL,
    slices::PODS_OF,
    slices::SCALED_TO_ZERO,
    slices::WORKLOAD,
];

/// The autoscaling keys of an object, by whether Ebb reads them.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// Annotations that Ebb reads. There is more than one map only if the object has several pod templates.
    pub(super) annotations: Vec<&'a Map<String, Value>>,
    /// Hard limits that Ebb reads.
    pub(super) limits: Vec<&'a Value>,
    /// Keys at a place where Ebb does not read them.
    pub(super) misplaced: Vec<(&'a str, &'a Value)>,
}

impl<'a> Places<'a> {
    /// Finds all autoscaling keys in `object`.
    pub(super) fn of(object: &'a Object) -> Places<'a> {
        let mut places = Places::default();
        places.walk(&object.value, &mut Vec::new(), object);
        places
    }

    fn walk(&mut self, value: &'a Value, path: &mut Vec<&'a str>, object: &Object) {
        match value {
            Value::Object(fields) => self.fields(fields, path, object),
            Value::Array(items) => {
                for item in items {
                    path.push("[]");
                    self.walk(item, path, object);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, fields: &'a Map<String, Value>, path: &mut Vec<&'a str>, object: &Object) {
        let count = counts(path, object.sort);
        if count && fields.keys().any(|key| is_read(key)) {
            self.annotations.push(fields);
        }
        for (key, value) in fields {
            if is_read(key) {
                if !count && !OTHERS.contains(&key.as_str()) && !is_made(object) {
                    self.misplaced.push((key, value));
                }
            } else if key == LIMIT {
                self.limit(value, path, object.sort);
            } else {
                path.push(key);
                self.walk(value, path, object);
                path.pop();
            }
        }
    }

    fn limit(&mut self, value: &'a Value, path: &[&str], sort: Sort) {
        match (sort, path) {
            (Sort::Templated { revision: true }, ["spec", "template", "spec"])
            | (Sort::Pod, ["spec"]) => self.limits.push(value),
            // Outside the `spec` and the pod template of a workload, a field `containerConcurrency` may have another
            // meaning (as in KServe), so it is not reported.
            (Sort::Templated { revision: true } | Sort::Pod, _) => {
                self.misplaced.push((LIMIT, value));
            }
            (Sort::Templated { revision: false }, ["spec"] | ["spec", "template", ..]) => {
                self.misplaced.push((LIMIT, value));
            }
            _ => {}
        }
    }
}

/// Returns whether Ebb reads annotations at `path`.
fn counts(path: &[&str], sort: Sort) -> bool {
    match path {
        [.., "template", "metadata", "annotations"] => true,
        ["metadata", "annotations"] => sort == Sort::Pod,
        _ => false,
    }
}

/// Returns whether a controller created the object. Then the controller also copied the annotations, and no user can
/// move them.
fn is_made(object: &Object) -> bool {
    let owners = object.value.pointer("/metadata/ownerReferences");
    owners
        .and_then(Value::as_array)
        .is_some_and(|owners| !owners.is_empty())
}
