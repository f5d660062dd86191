//! From an object up to the topmost that can be scaled.
//!
//! Pod, ReplicaSet, Deployment, and whatever owns that: the topmost that can be scaled is it, because whoever is above
//! would undo what is done below. Bias: an owner counts only where the API server shows an object of that kind, name and
//! uid in the same namespace, whatever a pod says. Failure mode: what may not be read ends the climb, and the answer says
//! so, so that it is asked again.

use std::{future::Future, time::Duration};

use kube::{
    Api, Client, Error,
    core::{DynamicObject, PartialObjectMeta},
};
use tokio::time;

use crate::{
    cluster::kinds::{Kind, Kinds, is_absent},
    engine::{Dead, Followed, Owner, TargetKey},
};

/// Longest chain that is climbed. Knative's, from a pod to a Service, has six.
const HIGHEST: usize = 8;
/// An answer is waited for this long: an API server under load answers a read of one object within a second
/// (Kubernetes' own service level).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the API server could not tell.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Api(#[from] Error),
    #[error("no answer from the API server within {TIMEOUT:?}")]
    Timeout,
}

/// What was found.
pub(super) struct Climbed {
    /// The topmost object that can be scaled, and its kind.
    best: Option<(TargetKey, Kind)>,
    /// Why nothing above it was looked at; `None` if nothing is above.
    end: Option<Dead>,
}

impl Climbed {
    /// As the engine is told it.
    pub(super) fn followed(&self) -> Followed {
        match &self.best {
            Some((key, _)) => Followed::To(key.clone()),
            None => Followed::Nowhere(self.end.unwrap_or(Dead::NotScalable)),
        }
    }

    /// What is found, with its kind.
    pub(super) fn best(&self) -> Option<&(TargetKey, Kind)> {
        self.best.as_ref()
    }

    /// Why more may be found another time.
    pub(super) fn end(&self) -> Option<Dead> {
        self.end
    }
}

/// One object on the way.
struct Step {
    api_version: String,
    kind: String,
    name: String,
    /// `None` for the first one of a climb that begins at an object and not at a reference.
    uid: Option<String>,
}

/// Climbs from the owner of a pod in `namespace`.
pub(super) async fn from_owner(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    owner: &Owner,
) -> Result<Climbed, Failure> {
    let first = Step {
        api_version: owner.api_version.to_string(),
        kind: owner.kind.to_string(),
        name: owner.name.to_string(),
        uid: Some(owner.uid.to_string()),
    };
    climb(client, kinds, namespace, first).await
}

/// Climbs from an object itself.
pub(super) async fn from_object(
    client: &Client,
    kinds: &Kinds,
    key: &TargetKey,
) -> Result<Climbed, Failure> {
    let Some(kind) = within(kinds.find_in_group(&key.group, &key.kind)).await? else {
        return Ok(Climbed {
            best: None,
            end: Some(Dead::UnknownKind),
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
) -> Result<Climbed, Failure> {
    let mut climbed = Climbed {
        best: None,
        end: None,
    };
    let mut next = Some(first);
    for _ in 0..HIGHEST {
        let Some(step) = next.take() else {
            break;
        };
        let Some(kind) = within(kinds.find(&step.api_version, &step.kind)).await? else {
            climbed.end = Some(Dead::UnknownKind);
            break;
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), namespace, &kind.resource);
        let object = match within(api.get_metadata(&step.name)).await {
            Ok(object) => object,
            Err(Failure::Api(Error::Api(status))) if status.is_forbidden() => {
                climbed.end = Some(Dead::Forbidden);
                break;
            }
            Err(Failure::Api(Error::Api(status))) if is_absent(&status) => {
                climbed.end = Some(Dead::Absent);
                break;
            }
            Err(error) => return Err(error),
        };
        if step.uid.is_some() && step.uid != object.metadata.uid {
            climbed.end = Some(Dead::Absent);
            break;
        }
        next = owner_of(&object);
        if kind.scalable {
            let resource = &kind.resource;
            let key = TargetKey::new(&resource.group, &resource.kind, namespace, &step.name);
            climbed.best = Some((key, kind));
        }
    }
    Ok(climbed)
}

/// Waits for an answer, and not for ever.
async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
    match time::timeout(TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Timeout),
    }
}

/// The object that controls this one, if its reference could be one.
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
