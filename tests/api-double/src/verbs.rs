//! Answers requests that create, read, change or delete an object.

use serde_json::{Value, json};

use super::kinds::{Kind, Scale};
use super::patch::{merge, withdraw};
use super::refusal::Refusal;
use super::store::{Inner, Key, Store, key_of};
use super::tokens::Tokens;

/// A parsed request for objects.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    /// The object's name; empty for a collection.
    pub(super) name: String,
    /// The subresource, such as `scale`; empty for the object itself.
    pub(super) subresource: String,
    pub(super) content_type: &'a str,
    pub(super) body: Value,
    /// `fieldManager`: the owner of the fields of an apply patch.
    pub(super) manager: String,
}

impl Call<'_> {
    fn key(&self) -> Key {
        (
            self.kind.resource(),
            self.namespace.clone(),
            self.name.clone(),
        )
    }
}

/// Carries out the request; returns the response's status and body.
pub(super) fn carry_out(
    store: &Store,
    tokens: &Tokens,
    call: Call<'_>,
) -> Result<(u16, Value), Refusal> {
    if let (true, "serviceaccounts", "token") = (
        call.method == "POST",
        &*call.kind.plural,
        &*call.subresource,
    ) {
        return token(store, tokens, &call);
    }
    store.with(|inner| match (call.method, &*call.subresource) {
        ("GET", "" | "status") => Ok((200, inner.get(&call.key())?.clone())),
        ("GET", "scale") => {
            let paths = paths(&call.kind)?;
            Ok((200, scale_of(paths, inner.get(&call.key())?)?))
        }
        ("POST", "") => Ok((201, inner.create(&call.kind, &call.namespace, call.body)?)),
        ("PUT" | "PATCH", subresource) => {
            change(inner, &call, subresource).map(|object| (200, object))
        }
        ("DELETE", "") if !call.name.is_empty() => {
            let grace = call.body["gracePeriodSeconds"].as_u64();
            let uid = &call.body["preconditions"]["uid"];
            if !uid.is_null() && *uid != inner.get(&call.key())?["metadata"]["uid"] {
                return Err(Refusal::Conflict(
                    "the UID in the precondition does not match".into(),
                ));
            }
            Ok((200, inner.delete(&call.key(), grace)?))
        }
        _ => Err(Refusal::NotAllowed),
    })
}

fn change(inner: &mut Inner, call: &Call<'_>, subresource: &str) -> Result<Value, Refusal> {
    let key = call.key();
    let applies = call.content_type.starts_with("application/apply-patch");
    let mut applied = Value::Null;
    if applies {
        let last = (key.clone(), call.manager.clone());
        let kept = inner.applied.insert(last, call.body.clone());
        applied = kept.unwrap_or_default();
    }
    if applies && inner.get(&key).is_err() {
        return inner.create(&call.kind, &call.namespace, call.body.clone());
    }
    let scale = match subresource {
        "scale" => Some(paths(&call.kind)?),
        _ => None,
    };
    let changed = inner.update(&key, |old| {
        let before = match scale {
            Some(paths) => scale_of(paths, old)?,
            None => old.clone(),
        };
        let after = if call.method == "PUT" {
            call.body.clone()
        } else {
            let mut after = before.clone();
            withdraw(&mut after, &applied, &call.body);
            // A strategic merge patch is applied as a merge patch, so its lists are not merged. No client sends lists
            // in such a patch.
            merge(&mut after, &call.body);
            after
        };
        same_uid(old, &after)?;
        same_version(old, &after)?;
        let mut new = old.clone();
        match (subresource, scale) {
            ("", _) => {
                new = after;
                if call.kind.scale.is_some() || call.kind.plural == "pods" {
                    new["status"] = old["status"].clone();
                }
            }
            ("status", _) => new["status"] = after["status"].clone(),
            ("scale", Some(paths)) => {
                // A Scale without `spec.replicas` means 0 replicas.
                let replicas = after["spec"]["replicas"].as_i64().unwrap_or(0);
                if u64::try_from(replicas).is_err() || i32::try_from(replicas).is_err() {
                    return Err(Refusal::Invalid(format!(
                        "spec.replicas: Invalid value: {replicas}"
                    )));
                }
                let at = paths
                    .spec
                    .iter()
                    .fold(&mut new, |at, field| &mut at[&**field]);
                *at = replicas.into();
            }
            _ => return Err(Refusal::NoSuchResource),
        }
        Ok(new)
    })?;
    match scale {
        Some(paths) => scale_of(paths, &changed),
        None => Ok(changed),
    }
}

/// Refuses a change whose body contains another uid than the object's:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/>.
fn same_uid(old: &Value, new: &Value) -> Result<(), Refusal> {
    let (old, new) = (&old["metadata"]["uid"], &new["metadata"]["uid"]);
    if new.is_null() || new == "" || old == new {
        return Ok(());
    }
    Err(Refusal::Conflict(format!(
        "Precondition failed: UID in precondition: {new}, UID in object meta: {old}"
    )))
}

/// Refuses a change whose body contains an outdated resource version.
fn same_version(old: &Value, new: &Value) -> Result<(), Refusal> {
    let field = "resourceVersion";
    let (old, new) = (&old["metadata"][field], &new["metadata"][field]);
    if new.is_null() || new == "" || old == new {
        return Ok(());
    }
    Err(Refusal::Conflict(
        "the object has been modified; please apply your changes to the latest version and try again"
            .to_owned(),
    ))
}

fn paths(kind: &Kind) -> Result<&Scale, Refusal> {
    kind.scale.as_ref().ok_or(Refusal::NoSuchResource)
}

/// Returns the Scale of an object.
///
/// If a custom object has no value at the `specReplicasPath` of its definition, the result is an error, as in the real
/// API server:
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/apiextensions-apiserver/pkg/registry/customresource/etcd.go>
fn scale_of(paths: &Scale, object: &Value) -> Result<Value, Refusal> {
    let at = |path: &[String]| {
        path.iter()
            .try_fold(object, |object, field| object.get(field))
            .and_then(Value::as_u64)
    };
    let metadata = &object["metadata"];
    let mut scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {}, "status": {"replicas": at(&paths.status).unwrap_or(0)},
    });
    let builtin = object["apiVersion"] == "apps/v1";
    let Some(replicas) = at(&paths.spec).or(builtin.then_some(1)) else {
        let path: String = paths.spec.iter().map(|field| format!(".{field}")).collect();
        return Err(Refusal::Internal(format!(
            "the spec replicas field {path:?} does not exist"
        )));
    };
    // Like the real API server, the double omits `spec.replicas` if the number is 0.
    if replicas > 0 {
        scale["spec"]["replicas"] = replicas.into();
    }
    Ok(scale)
}

fn token(store: &Store, tokens: &Tokens, call: &Call<'_>) -> Result<(u16, Value), Refusal> {
    let bound = store.with(|inner| {
        inner.get(&call.key())?;
        let to = &call.body["spec"]["boundObjectRef"];
        let Some(pod) = to["name"].as_str().filter(|_| to["kind"] == "Pod") else {
            return Ok(None);
        };
        let pod = inner.get(&("pods".into(), call.namespace.clone(), pod.to_owned()))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (_, _, name) = key_of("pods", pod);
        Ok(Some((
            name,
            text(&pod["metadata"]["uid"]),
            text(&pod["spec"]["nodeName"]),
        )))
    })?;
    let mut answer = call.body.clone();
    answer["status"] = tokens.request(&call.namespace, &call.name, &call.body["spec"], bound);
    Ok((201, answer))
}
