//! What a document is: whose settings it has, and what it is called in a problem.

use std::fmt;

use ebb_autoscaler_core::Config;
use serde_json::{Map, Value};

/// An object, or what stands for one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) sort: Sort,
}

/// What an object is to the autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// The settings of the cluster, as ConfigMap.
    ConfigMap,
    /// The same, its keys alone.
    Keys,
    /// It is what runs, or stands for one that does: its own annotations count, and its hard limit is in its spec.
    Pod,
    /// It has a template of what runs.
    Templated {
        /// Whether the template is of a Knative revision.
        revision: bool,
    },
    /// No object at all.
    Nothing,
}

/// The name of the cluster's settings.
const CONFIG_MAP: &str = "config-autoscaler";

impl Object {
    fn new(value: Value) -> Object {
        let sort = sort(&value);
        Object { value, sort }
    }

    pub(super) fn kind(&self) -> Option<&str> {
        self.value.get("kind")?.as_str()
    }

    /// The settings in it as far as they can be read, if it has the cluster's.
    pub(super) fn config(&self) -> Option<Config> {
        let texts: Vec<_> = self
            .settings()?
            .iter()
            .map(|(key, value)| (key.as_str(), text(value)))
            .collect();
        let texts = texts.iter().map(|(key, value)| (*key, value.as_str()));
        Some(Config::from_map_lossy(texts).0)
    }

    /// The cluster's settings, key by key, if it has them.
    pub(super) fn settings(&self) -> Option<&Map<String, Value>> {
        match self.sort {
            Sort::ConfigMap => self.value.get("data")?.as_object(),
            Sort::Keys => self.value.as_object(),
            Sort::Pod | Sort::Templated { .. } | Sort::Nothing => None,
        }
    }
}

/// `KIND/NAME`.
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

/// The objects in a document: lists are taken apart.
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
        // Knative puts a revision's annotations on all it makes for it.
        ("Pod", "") | ("Revision", "serving.knative.dev") => Sort::Pod,
        (_, group) if group.ends_with(".internal.knative.dev") => Sort::Pod,
        (_, "serving.knative.dev") => Sort::Templated { revision: true },
        _ => Sort::Templated { revision: false },
    }
}

fn is_single(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// A value as it would be written in quotes.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
