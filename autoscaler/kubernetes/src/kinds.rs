//! The kinds of objects in the cluster, and whether they can be scaled.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use kube::{
    Client, Error,
    core::{ApiResource, GroupVersionKind, Status},
    discovery,
};

/// A kind and its properties.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) resource: ApiResource,
    /// Whether the kind has a scale subresource.
    pub(super) scalable: bool,
}

/// The kinds that have been found in the cluster. The kinds that every cluster has are known from the start.
pub(super) struct Kinds {
    client: Client,
    /// The kinds, by (group, kind).
    known: Mutex<HashMap<(String, String), Kind>>,
}

/// Returns whether `status` says that the API server does not have the object or does not serve its group. For a group
/// that is not served, the answer is plain text (`404 page not found`), which kube's `Status::is_not_found` does not
/// recognise.
pub(super) fn is_absent(status: &Status) -> bool {
    status.code == 404
}

impl Kinds {
    pub(super) fn new(client: Client) -> Self {
        let builtin = [
            ApiResource::erase::<Deployment>(&()),
            ApiResource::erase::<ReplicaSet>(&()),
            ApiResource::erase::<StatefulSet>(&()),
        ];
        let known = builtin.map(|resource| {
            let name = (resource.group.clone(), resource.kind.clone());
            let kind = Kind {
                resource,
                scalable: true,
            };
            (name, kind)
        });
        Self {
            client,
            known: Mutex::new(known.into()),
        }
    }

    /// Returns a kind if it is already known. Sends no request to the API server.
    pub(super) fn known(&self, group: &str, kind: &str) -> Option<Kind> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(group.to_owned(), kind.to_owned())).cloned()
    }

    /// Finds a kind; `None` if the cluster does not have it.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses the request.
    pub(super) async fn find(&self, api_version: &str, kind: &str) -> Result<Option<Kind>, Error> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if let Some(known) = self.known(group, kind) {
            return Ok(Some(known));
        }
        let wanted = GroupVersionKind::gvk(group, version, kind);
        let found = match discovery::pinned_kind(&self.client, &wanted).await {
            Ok((resource, capabilities)) => Kind {
                resource,
                scalable: capabilities
                    .subresources
                    .iter()
                    .any(|(subresource, _)| subresource.plural == "scale"),
            },
            Err(Error::Discovery(_)) => return Ok(None),
            Err(Error::Api(status)) if is_absent(&status) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert((group.to_owned(), kind.to_owned()), found.clone());
        Ok(Some(found))
    }

    /// Finds a kind of a group, in the version that the cluster prefers; `None` if the cluster does not have it.
    ///
    /// # Errors
    /// If the API server does not answer, or refuses the request.
    pub(super) async fn find_in_group(
        &self,
        group: &str,
        kind: &str,
    ) -> Result<Option<Kind>, Error> {
        if let Some(known) = self.known(group, kind) {
            return Ok(Some(known));
        }
        let versions = match discovery::group(&self.client, group).await {
            Ok(group) => group,
            Err(Error::Discovery(_)) => return Ok(None),
            Err(Error::Api(status)) if is_absent(&status) => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = versions
            .recommended_resources()
            .into_iter()
            .find(|(resource, _)| resource.kind == kind);
        match found {
            Some((resource, _)) => self.find(&resource.api_version, kind).await,
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_that_is_not_served_is_absent() {
        // kube converts a plain-text answer of the API server to a `Status` like this one.
        let status = Status {
            code: 404,
            message: "404 page not found".to_owned(),
            reason: "Failed to parse error data".to_owned(),
            ..Status::default()
        };
        assert!(is_absent(&status));
        let forbidden = Status {
            code: 403,
            ..status
        };
        assert!(!is_absent(&forbidden));
    }
}
