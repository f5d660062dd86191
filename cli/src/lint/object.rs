//! Classifies documents: which settings a document contains, and its name in problem messages.

use std::fmt;

use ebb_autoscaler_core::Config;
use serde_json::{Map, Value};

/// A Kubernetes object, or a document without a kind (the keys of a ConfigMap, a pod template).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) sort: Sort,
}

/// The role of an object for the autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// The settings of the cluster, in a ConfigMap.
    ConfigMap,
    /// The settings of the cluster as bare keys and values, without a ConfigMap around them.
    Keys,
    /// A pod, a pod template without a kind, a Knative revision, or an object that Knative creates for a revision. Ebb
    /// reads the annotations in the `metadata` of the object and the hard limit in its `spec`.
    Pod,
    /// Any other object. Ebb reads the annotations in its pod template, if it has one.
    Templated {
        /// Whether the template is the template of a Knative revision.
        revision: bool,
    },
    /// Not a Kubernetes object.
    Nothing,
}

/// The name of the ConfigMap with the cluster's settings.
const CONFIG_MAP: &str = "config-autoscaler";

impl Object {
    fn new(value: Value) -> Object {
        let sort = sort(&value);
        Object { value, sort }
    }

    pub(super) fn kind(&self) -> Option<&str> {
        self.value.get("kind")?.as_str()
    }

    /// Returns the cluster's settings in the object, without the invalid ones. Returns `None` if the object contains
    /// no such settings.
    pub(super) fn config(&self) -> Option<Config> {
        let texts: Vec<_> = self
            .settings()?
            .iter()
            .map(|(key, value)| (key.as_str(), text(value)))
            .collect();
        let texts = texts.iter().map(|(key, value)| (*key, value.as_str()));
        Some(Config::from_map_lossy(texts).0)
    }

    /// Returns the cluster's settings by key, if the object contains settings.
    pub(super) fn settings(&self) -> Option<&Map<String, Value>> {
        match self.sort {
            Sort::ConfigMap => self.value.get("data")?.as_object(),
            Sort::Keys => self.value.as_object(),
            Sort::Pod | Sort::Templated { .. } | Sort::Nothing => None,
        }
    }
}

/// Displays the object as `KIND/NAME`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.kind(), self.sort) {
            (Some(kind), _) => kind,
            (None, Sort::Keys) => return write!(f, "ConfigMap/{CONFIG_MAP}"),
            (None, Sort::Pod) => "PodTemplate",
            (None, _) => "-",
        };
        let name = |key| self.value.get("metadata")?.get(key)?.as_str();
        let name = name("name").or_else(|| name("generateName"));
        write!(f, "{kind}/{}", name.unwrap_or("-"))
    }
}

/// Returns the objects in a document. A list is split into its items.
pub(super) fn flatten(document: Value) -> Vec<Object> {
    let is_list = |value: &Value| {
        let kind = value.get("kind").and_then(Value::as_str);
        kind.is_some_and(|kind| kind.ends_with("List"))
    };
    match document {
        Value::Array(items) => items.into_iter().flat_map(flatten).collect(),
        mut list if is_list(&list) => match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items.into_iter().flat_map(flatten).collect(),
            _ => Vec::new(),
        },
        value => vec![Object::new(value)],
    }
}

fn sort(value: &Value) -> Sort {
    let Some(fields) = value.as_object() else {
        return Sort::Nothing;
    };
    let field = |name| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (kind, group) = (
        field("kind"),
        field("apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group),
    );
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    match (kind, group) {
        ("", _) if fields.contains_key("metadata") || fields.contains_key("spec") => Sort::Pod,
        ("", _) if !fields.is_empty() && fields.values().all(is_single) => Sort::Keys,
        ("", _) => Sort::Nothing,
        ("ConfigMap", "") if name == Some(CONFIG_MAP) => Sort::ConfigMap,
        // Knative copies the annotations of a revision to every object that it creates for the revision.
        ("Pod", "") | ("Revision", "serving.knative.dev") => Sort::Pod,
        (_, group) if group.ends_with(".internal.knative.dev") => Sort::Pod,
        (_, "serving.knative.dev") => Sort::Templated { revision: true },
        _ => Sort::Templated { revision: false },
    }
}

fn is_single(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// Returns the text of a value: a string itself, or any other value as JSON.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
