//! Finds the topmost scalable owner of an object: climbs from owner reference to owner reference.
//!
//! An example of a chain is: pod, ReplicaSet, Deployment, owner of the Deployment. The topmost scalable object is the
//! workload, because its controller would undo a change of the replicas of an object below it. Bias: an owner counts
//! only if the API server has an object with the kind, name and uid of the owner reference in the namespace of the pod.
//! Failure mode: an object that may not be read ends the climb; the result contains the cause, and the climb is
//! repeated.

use std::{future::Future, time::Duration};

use ebb_engine::{NoTargetReason, Owner, OwnerResolution, TargetKey};
use kube::{
    Api, Client, Error,
    core::{DynamicObject, PartialObjectMeta},
};
use tokio::time;

use crate::kinds::{Kind, Kinds, is_absent};

/// Maximum number of objects in a chain of owners. In Knative, the chain from a pod to a Service has six objects.
const HIGHEST: usize = 8;
/// Time limit of a request: an API server under load answers a read of one object within a second (Kubernetes' own
/// service level objective).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the API server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Api(#[from] Error),
    #[error("no answer from the API server within {TIMEOUT:?}")]
    Timeout,
}

/// The result of following the owner references from an object to its topmost scalable owner.
pub(super) struct OwnerChain {
    /// The topmost object that can be scaled, and its kind.
    best: Option<(TargetKey, Kind)>,
    /// Why the chain of owners could not be followed to its end; `None` if the last object has no owner, or if the
    /// chain is longer than `HIGHEST`.
    end: Option<NoTargetReason>,
}

impl OwnerChain {
    /// Returns the topmost scalable object as the type that the engine accepts.
    pub(super) fn resolution(&self) -> OwnerResolution {
        match &self.best {
            Some((key, _)) => OwnerResolution::Target(key.clone()),
            None => OwnerResolution::NoTarget(self.end.unwrap_or(NoTargetReason::NotScalable)),
        }
    }

    /// Returns the topmost scalable object and its kind.
    pub(super) fn best(&self) -> Option<&(TargetKey, Kind)> {
        self.best.as_ref()
    }

    /// Returns why the chain of owners could not be followed to its end; `None` if it was. If there is a reason, a
    /// later attempt may find more owners.
    pub(super) fn end(&self) -> Option<NoTargetReason> {
        self.end
    }
}

/// One object of a chain of owners.
struct Step {
    api_version: String,
    kind: String,
    name: String,
    /// The uid in the owner reference to this object; `None` if the search begins at this object and not at a reference
    /// to it.
    uid: Option<String>,
}

/// Follows the owner references from the owner of a pod in `namespace` to the topmost scalable owner.
pub(super) async fn from_owner(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    owner: &Owner,
) -> Result<OwnerChain, Failure> {
    let first = Step {
        api_version: owner.api_version.to_string(),
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: Some(owner.uid.to_string()),
    };
    climb(client, kinds, namespace, first).await
}

/// Climbs from the object `key` to its topmost scalable owner.
pub(super) async fn from_object(
    client: &Client,
    kinds: &Kinds,
    key: &TargetKey,
) -> Result<OwnerChain, Failure> {
    let Some(kind) = within(kinds.find_in_group(&key.group, &key.kind)).await? else {
        return Ok(OwnerChain {
            best: None,
            end: Some(NoTargetReason::UnknownKind),
        });
    };
    let first = Step {
        api_version: kind.resource.api_version,
        kind: key.kind.to_string(),
        name: key.name.to_string(),
        uid: None,
    };
    climb(client, kinds, &key.namespace, first).await
}

async fn climb(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    first: Step,
) -> Result<OwnerChain, Failure> {
    let mut chain = OwnerChain {
        best: None,
        end: None,
    };
    let mut next = Some(first);
    for _ in 0..HIGHEST {
        let Some(step) = next.take() else {
            break;
        };
        let Some(kind) = within(kinds.find(&step.api_version, &step.kind)).await? else {
            chain.end = Some(NoTargetReason::UnknownKind);
            break;
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &kind.resource);
        let object = match within(api.get_metadata(&step.name)).await {
            Ok(object) => object,
            Err(Failure::Api(Error::Api(status))) if status.is_forbidden() => {
                chain.end = Some(NoTargetReason::Forbidden);
                break;
            }
            Err(Failure::Api(Error::Api(status))) if is_absent(&status) => {
                chain.end = Some(NoTargetReason::Absent);
                break;
            }
            Err(error) => return Err(error),
        };
        if step.uid.is_some() && step.uid != object.metadata.uid {
            chain.end = Some(NoTargetReason::Absent);
            break;
        }
        next = owner_of(&object);
        if kind.scalable {
            let resource = &kind.resource;
            let key = TargetKey::new(&resource.group, &resource.kind, namespace, &step.name);
            chain.best = Some((key, kind));
        }
    }
    Ok(chain)
}

/// Waits for the answer to a request, for at most `TIMEOUT`.
async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match time::timeout(TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Timeout),
    }
}

/// Returns the controller of an object, if the reference to it is valid.
fn owner_of(object: &PartialObjectMeta<DynamicObject>) -> Option<Step> {
    let owners = object.metadata.owner_references.iter().flatten();
    let owner = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))?;
    Owner::named(&owner.api_version, &owner.kind, &owner.name, &owner.uid)?;
    Some(Step {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: Some(owner.uid.clone()),
    })
}
