//! Admission. It refuses objects in a namespace that does not exist or is being deleted, objects over a quota, and
//! objects that are too large.
//!
//! Bias: only the admission rules that tests depend on are checked. The maximum sizes are those of the real API server.

use serde_json::Value;

use super::kinds::Kind;
use super::refusal::Refusal;
use super::store::Inner;

/// Maximum total size of all annotations of an object, bytes:
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go#L38>
const ANNOTATIONS: usize = 256 << 10;
/// Maximum size of a label's value, bytes:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
const LABEL: usize = 63;
/// Maximum size of an object, bytes: etcd accepts this size in one request (`--max-request-bytes`):
/// <https://etcd.io/docs/v3.6/dev-guide/limit/>
const OBJECT: usize = 3 << 19;

/// Checks whether an object may be created.
pub(super) fn creates(
    inner: &Inner,
    kind: &Kind,
    namespace: &str,
    name: &str,
) -> Result<(), Refusal> {
    if !kind.namespaced {
        return Ok(());
    }
    let space = ("namespaces".to_owned(), String::new(), namespace.to_owned());
    let found = inner.get(&space)?;
    let resource = match &*kind.group {
        "" => kind.plural.clone(),
        group => format!("{}.{group}", kind.plural),
    };
    if !found["metadata"]["deletionTimestamp"].is_null() {
        return Err(Refusal::Forbidden(
            format!(
                "{resource} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is \
                 being terminated"
            ),
            "NamespaceTerminating",
        ));
    }
    for quota in inner.list("resourcequotas", Some(namespace)) {
        let counted = [format!("count/{resource}"), kind.plural.clone()];
        let hard = counted
            .iter()
            .find_map(|what| Some((what, quota["spec"]["hard"].get(what)?)));
        let Some((what, hard)) = hard else { continue };
        let hard = hard.as_str().unwrap_or_default().parse().unwrap_or(0);
        let used = inner.list(&kind.resource(), Some(namespace)).count();
        if used >= hard {
            let by = quota["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Refusal::Forbidden(
                format!(
                    "{resource} {name:?} is forbidden: exceeded quota: {by}, requested: {what}=1, used: {what}={used}, \
                     limited: {what}={hard}"
                ),
                "",
            ));
        }
    }
    Ok(())
}

/// Checks whether an object may be stored.
pub(super) fn valid(object: &Value) -> Result<(), Refusal> {
    let metadata = &object["metadata"];
    let texts = |field: &str| {
        let map = metadata[field].as_object().into_iter().flatten();
        map.map(|(key, value)| (key.len(), value.as_str().unwrap_or_default().len()))
    };
    let annotations: usize = texts("annotations").map(|(key, value)| key + value).sum();
    if annotations > ANNOTATIONS {
        return Err(Refusal::Invalid(format!(
            "metadata.annotations: Too long: may not be more than {ANNOTATIONS} bytes"
        )));
    }
    if texts("labels").any(|(_, value)| value > LABEL) {
        return Err(Refusal::Invalid(format!(
            "metadata.labels: Invalid value: must be no more than {LABEL} bytes"
        )));
    }
    for owner in super::store::owners(object) {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                return Err(Refusal::Invalid(format!(
                    "metadata.ownerReferences.{field}: Invalid value: \"\": must not be empty"
                )));
            }
        }
    }
    if bytes(object) > OBJECT {
        return Err(Refusal::Internal(
            "etcdserver: request is too large".to_owned(),
        ));
    }
    Ok(())
}

/// Returns the approximate size of an object in etcd, bytes: the sizes of its keys and strings, and a few bytes for
/// each other value.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(bytes).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| key.len() + 2 + bytes(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}
