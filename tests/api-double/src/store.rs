//! The objects of the API double, with resource versions and a history for watches.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Included, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::admission;
use super::kinds::{Kind, Kinds};
use super::refusal::Refusal;

/// Maximum number of changes that are kept for watches that resume. A watch from an older resource version gets the
/// error `410 Gone`, as from a compacted etcd.
const HISTORY: usize = 10_000;

/// Namespaces that exist in every cluster.
const NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

/// An object's key: resource (`apps/deployments`), namespace, name.
pub(super) type Key = (String, String, String);

/// A change of an object, for watches.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) resource: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) kind: &'static str,
    pub(super) object: Arc<Value>,
    /// The object before the change. A watch with a selector needs it to report an object that no longer matches.
    pub(super) before: Option<Arc<Value>>,
}

/// All objects.
#[derive(Debug)]
pub(super) struct Store {
    inner: Mutex<Inner>,
    /// The newest resource version.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) kinds: Kinds,
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    /// The last configuration that each field manager applied to an object, by object key and manager.
    pub(super) applied: BTreeMap<(Key, String), Value>,
    history: VecDeque<Change>,
    /// The version of the newest change that is no longer in the history.
    forgotten: u64,
    version: u64,
    uids: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        let mut inner = Inner {
            kinds: Kinds::new(),
            objects: BTreeMap::new(),
            applied: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: 0,
            // Resource versions begin at 1, like the revisions of a fresh etcd.
            version: 1,
            uids: 0,
        };
        for name in NAMESPACES {
            inner.make_namespace(name);
        }
        Self {
            newest: watch::Sender::new(inner.version),
            inner: Mutex::new(inner),
        }
    }

    /// Runs `act` on the objects, and wakes watches if `act` changed an object.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = act(&mut inner);
        let version = inner.version;
        drop(inner);
        self.newest
            .send_if_modified(|newest| std::mem::replace(newest, version) != version);
        result
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the changes to objects of a resource after `version`.
    pub(super) fn since(&self, version: u64, resource: &str) -> Result<Vec<Change>, Refusal> {
        if version < self.forgotten {
            return Err(Refusal::Gone(format!(
                "too old resource version: {version} ({})",
                self.forgotten
            )));
        }
        let from = self
            .history
            .partition_point(|change| change.version <= version);
        let since = self.history.range(from..);
        Ok(since
            .filter(|change| change.resource == resource)
            .cloned()
            .collect())
    }

    /// Drops the history, as etcd does when it is compacted.
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.forgotten = self.version;
    }

    pub(super) fn get(&self, key: &Key) -> Result<&Value, Refusal> {
        let object = self.objects.get(key);
        object
            .map(|object| &**object)
            .ok_or_else(|| Refusal::none_at(key))
    }

    /// Returns the objects of one resource in one namespace; `None`: in all namespaces.
    pub(super) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Value> + use<'_> {
        self.shared(resource, namespace).map(|object| &**object)
    }

    /// Like `list`, but with shared ownership, so that the caller can keep the objects.
    pub(super) fn shared(
        &self,
        resource: &str,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Arc<Value>> + use<'_> {
        let from = (
            resource.to_owned(),
            namespace.unwrap_or_default().to_owned(),
            String::new(),
        );
        let within = from.1.clone();
        let all = namespace.is_none();
        self.objects
            .range((Included(from.clone()), Unbounded))
            .take_while(move |((of, namespace, _), _)| {
                *of == from.0 && (all || *namespace == within)
            })
            .map(|(_, object)| object)
    }

    /// Creates a namespace without admission, if it does not exist. The namespace's uid is not from the sequence of the
    /// other objects' uids.
    pub(super) fn make_namespace(&mut self, name: &str) {
        let key = ("namespaces".to_owned(), String::new(), name.to_owned());
        if self.objects.contains_key(&key) {
            return;
        }
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": name, "creationTimestamp": now(), "generation": 1,
                "uid": format!("00000000-0000-4000-9000-{:012x}", self.version),
                "labels": {"kubernetes.io/metadata.name": name},
            },
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        });
        // The result is ignored, because storing a new object cannot fail.
        self.put(key, "ADDED", object).ok();
    }

    /// Creates an object if admission allows it.
    pub(super) fn create(
        &mut self,
        kind: &Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        admission::creates(self, kind, namespace, name)?;
        self.insert(kind, namespace, object)
    }

    /// Creates an object without a check of quotas and of the namespace.
    pub(super) fn insert(
        &mut self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
    ) -> Result<Value, Refusal> {
        let metadata = metadata(&mut object)?;
        if let Some(prefix) = metadata
            .get("generateName")
            .and_then(Value::as_str)
            .map(str::to_owned)
            && !metadata.contains_key("name")
        {
            self.uids += 1;
            // The real API server appends five random characters; the double appends a counter of five hexadecimal
            // digits.
            metadata.insert("name".into(), format!("{prefix}{:05x}", self.uids).into());
        }
        let Some(name) = metadata
            .get("name")
            .and_then(Value::as_str)
            .map(str::to_owned)
        else {
            return Err(Refusal::Invalid("metadata.name: Required value".into()));
        };
        let key = (kind.resource(), namespace.to_owned(), name.clone());
        if self.objects.contains_key(&key) {
            return Err(Refusal::AlreadyExists(name));
        }
        if kind.namespaced {
            metadata.insert("namespace".into(), namespace.into());
        }
        // A client can set neither `deletionTimestamp` nor `deletionGracePeriodSeconds`: the API server removes both
        // silently.
        metadata.remove("deletionTimestamp");
        metadata.remove("deletionGracePeriodSeconds");
        self.uids += 1;
        metadata.insert(
            "uid".into(),
            format!("00000000-0000-4000-8000-{:012x}", self.uids).into(),
        );
        metadata.insert("creationTimestamp".into(), now().into());
        metadata.insert("generation".into(), 1.into());
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.clone().into();
        if kind.plural == "pods" {
            // The real API server computes the QoS class, and no client can change it. It is `Burstable` here, because
            // the tests' pods request a little CPU.
            object["status"]["qosClass"] = "Burstable".into();
        }
        if kind.plural == "namespaces" {
            object["spec"]["finalizers"] = json!(["kubernetes"]);
            object["status"]["phase"] = "Active".into();
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = key.2.clone().into();
        }
        admission::valid(&object)?;
        self.put(key, "ADDED", object)
    }

    /// Replaces an object with the result of `change`.
    pub(super) fn update(
        &mut self,
        key: &Key,
        change: impl FnOnce(&Value) -> Result<Value, Refusal>,
    ) -> Result<Value, Refusal> {
        let old = self.get(key)?.clone();
        let mut new = change(&old)?;
        for field in [
            "uid",
            "creationTimestamp",
            "namespace",
            "name",
            "generation",
        ] {
            new["metadata"][field] = old["metadata"][field].clone();
        }
        if old["metadata"]["namespace"].is_null() {
            metadata(&mut new)?.remove("namespace");
        }
        new["apiVersion"] = old["apiVersion"].clone();
        new["kind"] = old["kind"].clone();
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if new == old {
            return Ok(old);
        }
        if new["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or(1);
            new["metadata"]["generation"] = (generation + 1).into();
        }
        admission::valid(&new)?;
        let ended = !new["metadata"]["deletionTimestamp"].is_null()
            && has_finalizers(&old)
            && !has_finalizers(&new)
            && !is_bound(key, &new);
        let changed = self.put(key.clone(), "MODIFIED", new)?;
        if ended {
            return self.remove(key);
        }
        Ok(changed)
    }

    /// Removes an object and its dependents.
    pub(super) fn remove(&mut self, key: &Key) -> Result<Value, Refusal> {
        let object = self.take(key)?;
        let uid = object["metadata"]["uid"].clone();
        // A namespaced owner has dependents in its own namespace only:
        // https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/
        let owned: Vec<Key> = self
            .objects
            .iter()
            .filter(|((_, namespace, _), _)| key.1.is_empty() || *namespace == key.1)
            .filter(|(_, object)| owners(object).any(|owner| owner["uid"] == uid))
            .map(|(key, _)| key.clone())
            .collect();
        for key in owned {
            self.delete(&key, None).ok();
        }
        Ok(object)
    }

    /// Removes an object without its dependents.
    pub(super) fn take(&mut self, key: &Key) -> Result<Value, Refusal> {
        let before = self
            .objects
            .remove(key)
            .ok_or_else(|| Refusal::none_at(key))?;
        self.applied.retain(|(of, _), _| of != key);
        let mut object = Value::clone(&before);
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.kinds.forget(&object);
        self.record(key, "DELETED", Arc::new(object.clone()), Some(before));
        Ok(object)
    }

    /// Deletes an object as the API server does for a client. `grace`: the grace period in seconds; `None`: the grace
    /// period in the pod's spec. A pod bound to a node is only marked as terminating, unless `grace` is 0. A namespace
    /// is removed when it is empty. An object with finalizers is removed when the last finalizer is removed.
    pub(super) fn delete(&mut self, key: &Key, grace: Option<u64>) -> Result<Value, Refusal> {
        let object = self.get(key)?;
        let ends_later = is_bound(key, object) && grace != Some(0);
        let namespace = key.0 == "namespaces";
        if !ends_later && !namespace && !has_finalizers(object) {
            return self.remove(key);
        }
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return Ok(object.clone());
        }
        let grace = grace
            .or(object["spec"]["terminationGracePeriodSeconds"].as_u64())
            .unwrap_or(30);
        self.update(key, |object| {
            let mut object = object.clone();
            object["metadata"]["deletionTimestamp"] = now().into();
            if ends_later {
                object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
            }
            if namespace {
                object["status"]["phase"] = "Terminating".into();
            }
            Ok(object)
        })
    }

    /// Deletes the objects in namespaces that are being deleted, and removes each of these namespaces when it is empty.
    pub(super) fn finish_namespaces(&mut self) {
        let terminating: Vec<_> = self
            .list("namespaces", None)
            .filter(|namespace| !namespace["metadata"]["deletionTimestamp"].is_null())
            .map(|namespace| key_of("namespaces", namespace))
            .collect();
        for key in terminating {
            let within: Vec<_> = self
                .objects
                .keys()
                .filter(|(_, namespace, _)| *namespace == key.2)
                .cloned()
                .collect();
            if within.is_empty() {
                self.remove(&key).ok();
            }
            for object in within {
                self.delete(&object, None).ok();
            }
        }
    }

    fn put(&mut self, key: Key, kind: &'static str, mut object: Value) -> Result<Value, Refusal> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.kinds.learn(&object);
        let shared = Arc::new(object.clone());
        let before = self.objects.insert(key.clone(), Arc::clone(&shared));
        self.record(&key, kind, shared, before);
        Ok(object)
    }

    fn record(
        &mut self,
        key: &Key,
        kind: &'static str,
        object: Arc<Value>,
        before: Option<Arc<Value>>,
    ) {
        if self.history.len() == HISTORY {
            let oldest = self.history.pop_front();
            self.forgotten = oldest.map_or(0, |change| change.version);
        }
        self.history.push_back(Change {
            version: self.version,
            resource: key.0.clone(),
            kind,
            object,
            before,
        });
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty())
}

/// Returns whether the object is a pod that is bound to a node.
fn is_bound(key: &Key, object: &Value) -> bool {
    key.0 == "pods" && object["spec"]["nodeName"].is_string()
}

/// Returns the owner references of an object.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
}

/// Returns the key of a stored object.
pub(super) fn key_of(resource: &str, object: &Value) -> Key {
    let text = |field: &str| {
        object["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (resource.to_owned(), text("namespace"), text("name"))
}

fn metadata(object: &mut Value) -> Result<&mut serde_json::Map<String, Value>, Refusal> {
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    object["metadata"]
        .as_object_mut()
        .ok_or_else(|| Refusal::Invalid("metadata: must be an object".into()))
}

/// Returns the current time in the format of Kubernetes objects: RFC 3339 with whole seconds.
pub(super) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
