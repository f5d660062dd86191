//! The objects of the API double, with resource versions and a history for watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::kinds::{Kind, Kinds};
use super::refusal::Refusal;

/// Changes kept for watches that come back; older ones get `410 Gone`, as from a compacted etcd.
const HISTORY: usize = 10_000;

/// Where an object is: resource (`apps/deployments`), namespace, name.
pub(super) type Key = (String, String, String);

/// A change, as a watch tells it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) resource: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

/// All objects.
#[derive(Debug)]
pub(super) struct Store {
    inner: Mutex<Inner>,
    /// The newest version.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) kinds: Kinds,
    pub(super) objects: BTreeMap<Key, Value>,
    history: VecDeque<Change>,
    version: u64,
    uids: u64,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                kinds: Kinds::new(),
                objects: BTreeMap::new(),
                history: VecDeque::new(),
                // A fresh etcd is at 1.
                version: 1,
                uids: 0,
            }),
            newest: watch::Sender::new(1),
        }
    }

    /// Does something with the objects, and wakes watches if it changed any.
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

    /// What happened to a resource since `version`.
    pub(super) fn since(&self, version: u64, resource: &str) -> Result<Vec<Change>, Refusal> {
        let oldest = self
            .history
            .front()
            .map_or(self.version, |change| change.version);
        if version + 1 < oldest && self.history.len() == HISTORY {
            return Err(Refusal::Gone);
        }
        let since = self
            .history
            .iter()
            .filter(|change| change.version > version);
        Ok(since
            .filter(|change| change.resource == resource)
            .cloned()
            .collect())
    }

    pub(super) fn get(&self, key: &Key) -> Result<&Value, Refusal> {
        self.objects
            .get(key)
            .ok_or_else(|| Refusal::NotFound(key.2.clone()))
    }

    /// Those of one resource, in all namespaces or one.
    pub(super) fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Value> {
        self.objects
            .iter()
            .filter(move |((of, within, _), _)| {
                of == resource && namespace.is_none_or(|namespace| within == namespace)
            })
            .map(|(_, object)| object)
    }

    pub(super) fn create(
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
            // The letters a real one picks from, in the order of the numbers.
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
            // The real one works it out, and lets nobody change it; pods of these tests ask for a little CPU.
            object["status"]["qosClass"] = "Burstable".into();
        }
        self.put(key, "ADDED", object)
    }

    /// Replaces an object by what `change` makes of it.
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
        self.put(key.clone(), "MODIFIED", new)
    }

    /// Takes an object away, and what it owns.
    pub(super) fn remove(&mut self, key: &Key) -> Result<Value, Refusal> {
        let mut object = self
            .objects
            .remove(key)
            .ok_or_else(|| Refusal::NotFound(key.2.clone()))?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.record(key, "DELETED", object.clone());
        let uid = object["metadata"]["uid"].clone();
        let owned: Vec<Key> = self
            .objects
            .iter()
            .filter(|(_, object)| owners(object).any(|owner| owner["uid"] == uid))
            .map(|(key, _)| key.clone())
            .collect();
        for key in owned {
            self.delete(&key, None).ok();
        }
        Ok(object)
    }

    /// Deletes as a user does: a pod on a node ends in order first, unless told otherwise.
    pub(super) fn delete(&mut self, key: &Key, grace: Option<u64>) -> Result<Value, Refusal> {
        let object = self.get(key)?;
        let bound = key.0 == "pods" && object["spec"]["nodeName"].is_string();
        if !bound || grace == Some(0) {
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
            object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
            Ok(object)
        })
    }

    fn put(&mut self, key: Key, kind: &'static str, mut object: Value) -> Result<Value, Refusal> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.kinds.learn(&object);
        self.objects.insert(key.clone(), object.clone());
        self.record(&key, kind, object.clone());
        Ok(object)
    }

    fn record(&mut self, key: &Key, kind: &'static str, object: Value) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Change {
            version: self.version,
            resource: key.0.clone(),
            kind,
            object,
        });
    }
}

/// The owners of an object.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
}

/// The key of a stored object.
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

/// Now, as the API writes it: whole seconds.
pub(super) fn now() -> String {
    k8s_openapi::jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
