//! The pods of the cluster, reduced to what decisions need while they are read.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    core::{ApiResource, Object},
    runtime::watcher,
};
use serde::Deserialize;

use super::{Change, created, follow};
use crate::{
    cluster::{shared::Shared, sync::Part, writer::DELETION_COST},
    engine::{Owner, PodFacts, opted_in},
};

/// A pod of which the containers, volumes and the like are not even kept while it is read.
type SlimPod = Object<Spec, Status>;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Tells the engine of all pods.
pub(in crate::cluster) async fn run(client: Client, shared: Arc<Shared>, listed: Part) {
    let api: Api<SlimPod> = Api::all_with(client, &ApiResource::erase::<Pod>(&()));
    follow(api, watcher::Config::default(), |change| match change {
        Change::Seen(pod) if pod.is_over() => {
            shared.with(|engine, _| engine.pod_gone(&pod.uid().unwrap_or_default()));
        }
        Change::Seen(pod) => shared.with(|engine, now| engine.pod_seen(now, facts(&pod))),
        Change::Gone(id) => shared.with(|engine, _| engine.pod_gone(&id.uid)),
        Change::Listed => listed.done(),
    })
    .await;
}

trait Over {
    fn is_over(&self) -> bool;
}

impl Over for SlimPod {
    /// Whether its containers have ended for good.
    fn is_over(&self) -> bool {
        let phase = self.status.as_ref().map_or("", |status| &status.phase);
        matches!(phase, "Succeeded" | "Failed")
    }
}

fn facts(pod: &SlimPod) -> PodFacts {
    let deleting = pod.metadata.deletion_timestamp.is_some();
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    let ready = conditions
        .into_iter()
        .any(|is| is.kind == "Ready" && is.status == "True");
    let references = pod.metadata.owner_references.iter().flatten();
    let owner = references
        .into_iter()
        .find(|reference| reference.controller == Some(true));
    let cost = pod.annotations().get(DELETION_COST);
    PodFacts {
        uid: pod.uid().unwrap_or_default().into(),
        namespace: pod.namespace().unwrap_or_default().into(),
        name: pod.name_any().into(),
        node: pod.spec.node_name.as_deref().map(Into::into),
        ready: ready && !deleting,
        deleting,
        opted_in: opted_in(pod.annotations()),
        owner: owner.map(|owner| Owner {
            api_version: owner.api_version.as_str().into(),
            kind: owner.kind.as_str().into(),
            name: owner.name.as_str().into(),
            uid: owner.uid.as_str().into(),
        }),
        deletion_cost: cost.and_then(|cost| cost.parse().ok()),
        created: created(pod),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut serde_json::Value)) -> SlimPod {
        let mut pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "namespace": "shop", "name": "web-1", "uid": "u",
                "creationTimestamp": "1970-01-01T00:01:40Z",
                "annotations": {
                    "autoscaling.knative.dev/class": "ebb.dev",
                    "controller.kubernetes.io/pod-deletion-cost": "-7",
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Other", "name": "x", "uid": "x"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "o", "controller": true},
                ],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        change(&mut pod);
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_ready_pod() {
        let facts = facts(&read(|_| ()));
        assert!(facts.ready && facts.opted_in && !facts.deleting);
        assert_eq!(
            (facts.node.as_deref(), facts.deletion_cost),
            (Some("n1"), Some(-7))
        );
        assert_eq!((&*facts.owner.unwrap().uid, facts.created), ("o", 100));
    }

    #[test]
    fn one_that_is_being_deleted_takes_no_requests() {
        let pod = read(|pod| pod["metadata"]["deletionTimestamp"] = "1970-01-01T00:01:40Z".into());
        let facts = facts(&pod);
        assert!(facts.deleting && !facts.ready);
    }

    #[test]
    fn one_that_is_not_bound_or_has_no_status_yet() {
        let facts = facts(&read(|pod| {
            pod["spec"] = serde_json::json!({});
            pod["status"] = serde_json::json!({});
        }));
        assert_eq!((facts.node, facts.ready), (None, false));
        assert!(read(|pod| pod["status"]["phase"] = "Failed".into()).is_over());
    }
}
