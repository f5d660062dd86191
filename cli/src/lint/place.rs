//! Where autoscaling keys stand in an object, and whether anybody reads them there.
//!
//! Annotations count on a pod template, wherever in the object it is, and on what runs itself; a key of ours anywhere else
//! has no effect, and its author does not know.

use ebb_autoscaler_core::annotations::is_read;
use ebb_contract::{allotments, slices};
use serde_json::{Map, Value};

use super::object::{Object, Sort};

/// The field of a Knative revision that limits requests in flight.
pub(super) const LIMIT: &str = "containerConcurrency";

/// Keys of ours that are no settings of a workload: labels that select, what a Service says of its pods, and what is
/// written on objects that Ebb makes.
const OTHERS: [&str; 7] = [
    "ebb.dev/aggregate-to-autoscaler",
    "ebb.dev/made",
    "ebb.dev/metrics",
    allotments::LABEL,
    slices::PODS_OF,
    slices::SCALED_TO_ZERO,
    slices::WORKLOAD,
];

/// The keys of an object, by where they stand.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// Annotations that count; more than one map only where an object has several templates.
    pub(super) annotations: Vec<&'a Map<String, Value>>,
    /// Hard limits that count.
    pub(super) limits: Vec<&'a Value>,
    /// Keys that nobody reads where they are.
    pub(super) misplaced: Vec<(&'a str, &'a Value)>,
}

impl<'a> Places<'a> {
    /// All places in `object`.
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
            // Fields of that name in others' objects are theirs (KServe has one), but for those of a workload.
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

/// Whether a controller made the object: then it copied the annotations, and nobody can put them elsewhere.
fn is_made(object: &Object) -> bool {
    let owners = object.value.pointer("/metadata/ownerReferences");
    owners
        .and_then(Value::as_array)
        .is_some_and(|owners| !owners.is_empty())
}
