//! Selects the objects of a list or a watch.
//!
//! Bias: strict. A selector that the real API server refuses is refused here too, and never selects all objects:
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>.

use serde_json::Value;

use super::refusal::Refusal;

/// Field paths that a field selector may contain for every kind.
const EVERY_KIND: &[&str] = &["metadata.name", "metadata.namespace"];
/// Field paths that a field selector may contain in addition to [`EVERY_KIND`], by resource.
const FURTHER: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("apps/replicasets", &["status.replicas"]),
    ("events", &["reason", "type", "involvedObject.name"]),
    (
        "events.k8s.io/events",
        &["reason", "type", "regarding.name"],
    ),
];

/// A selector of objects of one kind, by namespace, fields and labels.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    /// The namespace; empty: all namespaces.
    pub(super) namespace: String,
    fields: Vec<Field>,
    labels: Vec<Label>,
}

#[derive(Debug, Clone)]
struct Field {
    path: String,
    value: String,
    equal: bool,
}

#[derive(Debug, Clone)]
enum Label {
    Is(String),
    IsNot(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
}

impl Selector {
    /// Parses `fieldSelector` and `labelSelector`.
    pub(super) fn new(
        resource: &str,
        namespace: &str,
        fields: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Self, Refusal> {
        let further = FURTHER.iter().find(|(of, _)| *of == resource);
        let further = further.map_or(&[][..], |(_, fields)| fields);
        let parts = fields.unwrap_or_default().split(',');
        let fields = parts.filter(|part| !part.is_empty()).map(|part| {
            let (path, value, equal) = match part.split_once("!=") {
                Some((path, value)) => (path, value, false),
                None => {
                    let (path, value) = part.split_once('=').ok_or_else(|| {
                        Refusal::BadRequest(format!("invalid selector: {part:?}"))
                    })?;
                    (path, value.trim_start_matches('='), true)
                }
            };
            if !EVERY_KIND.contains(&path) && !further.contains(&path) {
                return Err(Refusal::BadRequest(format!(
                    "field label not supported: {path}"
                )));
            }
            Ok(Field {
                path: path.to_owned(),
                value: value.to_owned(),
                equal,
            })
        });
        Ok(Self {
            namespace: namespace.to_owned(),
            fields: fields.collect::<Result<_, _>>()?,
            labels: requirements(labels.unwrap_or_default())
                .into_iter()
                .map(label)
                .collect::<Result<_, _>>()?,
        })
    }

    /// Returns whether an object matches the namespace and all requirements on fields and labels.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let within =
            self.namespace.is_empty() || object["metadata"]["namespace"] == *self.namespace;
        within
            && self.fields.iter().all(|field| field.selects(object))
            && self.labels.iter().all(|label| label.selects(object))
    }
}

impl Field {
    fn selects(&self, object: &Value) -> bool {
        let mut path = self.path.split('.');
        let found = path.try_fold(object, |object, field| object.get(field));
        let found = match found {
            Some(Value::String(text)) => text.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        };
        (found == self.value) == self.equal
    }
}

impl Label {
    fn selects(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let value = |key: &str| labels.get(key).and_then(Value::as_str);
        match self {
            Self::Is(key) => value(key).is_some(),
            Self::IsNot(key) => value(key).is_none(),
            Self::In(key, values) => value(key).is_some_and(|it| values.iter().any(|v| v == it)),
            Self::NotIn(key, values) => value(key).is_none_or(|it| values.iter().all(|v| v != it)),
        }
    }
}

/// Splits a label selector into its requirements: at the commas outside parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn label(text: &str) -> Result<Label, Refusal> {
    let text = text.trim();
    let bad = || Refusal::BadRequest(format!("unable to parse requirement: {text:?}"));
    let set = |list: &str| {
        let list = list.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(list.split(',').map(|it| it.trim().to_owned()).collect())
    };
    if let Some((key, list)) = text.split_once(" notin ") {
        return Ok(Label::NotIn(
            key.trim().to_owned(),
            set(list).ok_or_else(bad)?,
        ));
    }
    if let Some((key, list)) = text.split_once(" in ") {
        return Ok(Label::In(key.trim().to_owned(), set(list).ok_or_else(bad)?));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok(Label::NotIn(
            key.trim().to_owned(),
            vec![value.trim().to_owned()],
        ));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.trim_start_matches('=').trim();
        return Ok(Label::In(key.trim().to_owned(), vec![value.to_owned()]));
    }
    match text.strip_prefix('!') {
        Some(key) => Ok(Label::IsNot(key.trim().to_owned())),
        None if text.contains([' ', '(']) => Err(bad()),
        None => Ok(Label::Is(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(selector: &str) -> bool {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "a"}}});
        Selector::new("pods", "", None, Some(selector))
            .unwrap()
            .selects(&object)
    }

    #[test]
    fn labels_as_documented() {
        for yes in [
            "app=web",
            "app==web,tier!=b",
            "app",
            "!other",
            "other!=x",
            "tier in (a, b)",
            "tier notin (c),app",
            "other notin (a)",
        ] {
            assert!(labels(yes), "{yes}");
        }
        for no in [
            "app=x",
            "app!=web",
            "other",
            "!app",
            "tier in (b,c)",
            "tier notin (a)",
        ] {
            assert!(!labels(no), "{no}");
        }
        assert!(Selector::new("pods", "", None, Some("app in web")).is_err());
    }

    #[test]
    fn a_field_that_a_kind_does_not_have_is_refused() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n"}});
        let by = |field: &str| Selector::new("pods", "", Some(field), None);
        assert!(
            by("spec.nodeName=n,metadata.name!=b")
                .unwrap()
                .selects(&pod)
        );
        assert!(!by("spec.nodeName=m").unwrap().selects(&pod));
        assert!(by("spec.replicas=3").is_err());
        assert!(Selector::new("services", "", Some("spec.nodeName=n"), None).is_err());
    }
}
