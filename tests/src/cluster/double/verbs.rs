//! What the API double does with a request for objects.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::patch::merge;
use super::refusal::Refusal;
use super::store::{Inner, Key, Store, key_of};
use super::tokens::Tokens;

/// A request for objects, taken apart.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    /// Empty for a collection.
    pub(super) name: String,
    /// Empty for the object itself.
    pub(super) subresource: String,
    pub(super) content_type: &'a str,
    pub(super) body: Value,
    pub(super) selector: Selector,
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

/// Which objects of a kind are meant.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    /// Empty: all.
    pub(super) namespace: String,
    /// `fieldSelector`, as pairs.
    pub(super) fields: Vec<(String, String)>,
    /// `labelSelector`, as pairs.
    pub(super) labels: Vec<(String, String)>,
}

impl Selector {
    /// Whether an object is one of them.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let within =
            self.namespace.is_empty() || object["metadata"]["namespace"] == *self.namespace;
        let fields = self.fields.iter().all(|(path, wanted)| {
            let found = path.split('.').fold(object, |object, field| &object[field]);
            found.as_str().unwrap_or_default() == wanted
        });
        let labels = &object["metadata"]["labels"];
        within
            && fields
            && self
                .labels
                .iter()
                .all(|(key, wanted)| labels[key] == **wanted)
    }
}

/// Does what is asked; the answer's status and body.
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
        ("GET", "") if call.name.is_empty() => Ok((200, list(inner, &call))),
        ("GET", "" | "status") => Ok((200, inner.get(&call.key())?.clone())),
        ("GET", "scale") => Ok((200, scale_of(inner.get(&call.key())?))),
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

fn list(inner: &Inner, call: &Call<'_>) -> Value {
    let items: Vec<_> = inner
        .list(&call.kind.resource(), None)
        .filter(|object| call.selector.selects(object))
        .cloned()
        .collect();
    json!({
        "apiVersion": call.kind.api_version(), "kind": format!("{}List", call.kind.kind),
        "metadata": {"resourceVersion": inner.version().to_string()}, "items": items,
    })
}

fn change(inner: &mut Inner, call: &Call<'_>, subresource: &str) -> Result<Value, Refusal> {
    let key = call.key();
    if call.content_type.starts_with("application/apply-patch") && inner.get(&key).is_err() {
        return inner.create(&call.kind, &call.namespace, call.body.clone());
    }
    let changed = inner.update(&key, |old| {
        let before = if subresource == "scale" {
            scale_of(old)
        } else {
            old.clone()
        };
        let after = if call.method == "PUT" {
            call.body.clone()
        } else {
            let mut after = before.clone();
            // The lists of a strategic merge patch are not merged here; nobody sends any.
            merge(&mut after, &call.body);
            after
        };
        same("uid", old, &after)?;
        same("resourceVersion", old, &after)?;
        let mut new = old.clone();
        match subresource {
            "" => {
                new = after;
                if call.kind.scale || call.kind.plural == "pods" {
                    new["status"] = old["status"].clone();
                }
            }
            "status" => new["status"] = after["status"].clone(),
            "scale" => {
                let replicas = after["spec"]["replicas"].as_u64().unwrap_or(0);
                if i32::try_from(replicas).is_err() {
                    return Err(Refusal::Invalid(format!(
                        "spec.replicas: Invalid value: {replicas}"
                    )));
                }
                new["spec"]["replicas"] = replicas.into();
            }
            _ => return Err(Refusal::NotFound(subresource.to_owned())),
        }
        Ok(new)
    })?;
    Ok(if subresource == "scale" {
        scale_of(&changed)
    } else {
        changed
    })
}

/// A field of the metadata that a change must leave as it is, where it names it at all.
fn same(field: &str, old: &Value, new: &Value) -> Result<(), Refusal> {
    let (old, new) = (&old["metadata"][field], &new["metadata"][field]);
    if new.is_null() || new == "" || old == new {
        Ok(())
    } else {
        Err(Refusal::Conflict(format!(
            "metadata.{field} is {old}, not {new}"
        )))
    }
}

fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut scale = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {}, "status": {"replicas": object["status"]["replicas"].as_u64().unwrap_or(0)},
    });
    // Left out at zero, as by the real one.
    if let Some(replicas) = object["spec"]["replicas"]
        .as_u64()
        .filter(|replicas| *replicas > 0)
    {
        scale["spec"]["replicas"] = replicas.into();
    }
    scale
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
