//! From a pod's owner up to what is to be scaled.
//!
//! Pod, ReplicaSet, Deployment, and whatever owns that: the topmost that can be scaled is it, because whoever is above
//! would undo what is done below. Bias: what may not be read ends the climb (RBAC lists what Ebb may scale); an API
//! server that does not answer is asked again, for ever, because a pod without a workload is load nobody sees.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Api, Client, Error,
    core::{DynamicObject, PartialObjectMeta},
};
use tokio::{sync::Semaphore, time};
use tracing::{debug, warn};

use super::{
    kinds::{Kind, Kinds},
    shared::Shared,
    sync::UnderWay,
    watch::targets,
};
use crate::engine::{Owner, TargetKey};

/// Longest chain that is climbed. Knative's, from a pod to a Service, has six.
const HIGHEST: usize = 8;
/// Owners asked for at a time: with the start of a large cluster in mind, less than the API server grants a client.
const AT_A_TIME: usize = 16;
/// Wait before an API server that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Follows owners.
pub(super) struct Owners {
    client: Client,
    kinds: Arc<Kinds>,
    shared: Arc<Shared>,
    slots: Semaphore,
    pub(super) under_way: UnderWay,
    /// Kinds whose objects are watched, by group and kind.
    watched: Mutex<HashSet<(String, String)>>,
}

impl Owners {
    /// `watched`: kinds that are watched already.
    pub(super) fn new(
        client: Client,
        kinds: Arc<Kinds>,
        shared: Arc<Shared>,
        watched: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            client,
            kinds,
            shared,
            slots: Semaphore::new(AT_A_TIME),
            under_way: UnderWay::default(),
            watched: Mutex::new(watched.into_iter().collect()),
        }
    }

    /// Finds what `owner` leads to and tells the engine, in a task of its own.
    pub(super) fn resolve(self: &Arc<Self>, namespace: Box<str>, owner: Arc<Owner>) {
        self.under_way.begin();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            this.until_resolved(&namespace, &owner).await;
            this.under_way.end();
        });
    }

    async fn until_resolved(&self, namespace: &str, owner: &Owner) {
        let mut told = false;
        loop {
            let found = {
                let Ok(_slot) = self.slots.acquire().await else {
                    return;
                };
                self.climb(namespace, owner).await
            };
            match found {
                Ok(target) => {
                    debug!(namespace, owner = %owner.name, ?target, "owner followed");
                    if let Some((key, kind)) = &target {
                        self.watch(key, kind);
                    }
                    let key = target.map(|(key, _)| key);
                    return self
                        .shared
                        .with(|engine, now| engine.resolved(now, &owner.uid, key));
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!(namespace, owner = %owner.name, %error, "cannot follow an owner; trying again");
                    }
                    time::sleep(ASK_AGAIN).await;
                    if !self.shared.with(|engine, _| engine.is_owner(&owner.uid)) {
                        return;
                    }
                }
            }
        }
    }

    /// The topmost object above that can be scaled.
    async fn climb(
        &self,
        namespace: &str,
        owner: &Owner,
    ) -> Result<Option<(TargetKey, Kind)>, Error> {
        let mut best = None;
        let mut next = Some((
            owner.api_version.to_string(),
            owner.kind.to_string(),
            owner.name.to_string(),
        ));
        for _ in 0..HIGHEST {
            let Some((api_version, kind_name, name)) = next.take() else {
                break;
            };
            let Some(kind) = self.kinds.find(&api_version, &kind_name).await? else {
                break;
            };
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client.clone(), namespace, &kind.resource);
            let object = match api.get_metadata(&name).await {
                Ok(object) => object,
                Err(Error::Api(status)) if status.is_forbidden() || status.is_not_found() => break,
                Err(error) => return Err(error),
            };
            next = owner_of(&object);
            if kind.scalable {
                let resource = &kind.resource;
                let key = TargetKey::new(&resource.group, &resource.kind, namespace, &name);
                best = Some((key, kind));
            }
        }
        Ok(best)
    }

    /// Sees to it that objects of that kind are watched.
    fn watch(&self, key: &TargetKey, kind: &Kind) {
        let name = (key.group.to_string(), key.kind.to_string());
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.insert(name) {
            let (client, resource) = (self.client.clone(), kind.resource.clone());
            tokio::spawn(targets::run(
                client,
                resource,
                Arc::clone(&self.shared),
                None,
            ));
        }
    }
}

fn owner_of(object: &PartialObjectMeta<DynamicObject>) -> Option<(String, String, String)> {
    let owners = object.metadata.owner_references.iter().flatten();
    let owner = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))?;
    Some((
        owner.api_version.clone(),
        owner.kind.clone(),
        owner.name.clone(),
    ))
}
