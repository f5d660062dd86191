//! The places of autoscaling keys in an object, and whether Ebb reads them there.
//!
//! Annotations count on a pod template, at any place in the object, and on a pod itself. An Ebb key at any other place has no
//! effect, and its author does not notice.

use ebb_autoscaler_core::annotations::is_read;
use ebb_contract::{allotments, slices};
use serde_json::{Map, Value};

use super::object::{Object, Sort};

/// The field of a Knative revision that limits requests in flight.
pub(super) const LIMIT: &str = "containerConcurrency";

/// Keys of Ebb that are not settings of a workload: labels for selectors, what a Service says about its pods, and keys on
/// objects that Ebb makes.
const OTHERS: [&str; 7] = [
    "ebb.dev/aggregate-to-autoscaler",
    "ebb.dev/made",
    "ebb.dev/metrics",
    allotments::LABEL,
    slices::PODS_OF,
    slices::SCALED_TO_ZERO,
    slices::WORKLOAD,
];

/// The keys of an object, by place.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// Annotations that count; more than one map only if an object has several templates.
    pub(super) annotations: Vec<&'a Map<String, Value>>,
    /// Hard limits that count.
    pub(super) limits: Vec<&'a Value>,
    /// Keys at a place where Ebb does not read them.
    pub(super) misplaced: Vec<(&'a str, &'a Value)>,
}

impl<'a> Places<'a> {
    /// Finds all keys in `object`.
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
            // Other objects may have a field of that name for their own use (KServe has one), except in a workload.
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

/// Whether annotations at `path` are read.
fn counts(path: &[&str], sort: Sort) -> bool {
    match path {
        [.., "template", "metadata", "annotations"] => true,
        ["metadata", "annotations"] => sort == Sort::Pod,
        _ => false,
    }
}

/// Whether a controller made the object. The controller copied the annotations, and nobody can move them.
fn is_made(object: &Object) -> bool {
    let owners = object.value.pointer("/metadata/ownerReferences");
    owners
        .and_then(Value::as_array)
        .is_some_and(|owners| !owners.is_empty())
}
