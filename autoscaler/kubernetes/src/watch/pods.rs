//! The pods of the cluster, reduced while they are parsed to the fields that decisions need.

use std::sync::Arc;

use ebb_engine::{Owner, PodFacts, opted_in};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, Resource, ResourceExt as _, runtime::watcher};
use serde::Deserialize;

use super::{Change, age::Dependents, created, follow};
use crate::{shared::Shared, sync::Part, writer::DELETION_COST};

/// The fields of a pod that are parsed. These fields are freed before the next pod of a list is parsed. Otherwise, kept
/// and freed fields would alternate in memory, and in a large cluster a third of the memory would be lost to
/// fragmentation.
#[derive(Deserialize)]
struct Read {
    metadata: ObjectMeta,
    spec: Spec,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<Box<str>>,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    phase: String,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// The parts of a pod that are kept in memory until the list with the pod has been processed.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pod)]
#[serde(from = "Read")]
struct SlimPod {
    /// The pod's name, namespace, uid and resource version.
    metadata: ObjectMeta,
    /// Whether the pod has ended for good (`Succeeded` or `Failed`).
    is_over: bool,
    facts: PodFacts,
}

impl From<Read> for SlimPod {
    fn from(pod: Read) -> Self {
        let status = pod.status.unwrap_or_default();
        Self {
            is_over: matches!(&*status.phase, "Succeeded" | "Failed"),
            facts: facts(&pod.metadata, pod.spec, &status.conditions),
            metadata: ObjectMeta {
                name: pod.metadata.name,
                namespace: pod.metadata.namespace,
                uid: pod.metadata.uid,
                resource_version: pod.metadata.resource_version,
                ..ObjectMeta::default()
            },
        }
    }
}

/// Passes all pods to the engine.
pub(crate) async fn run(client: Client, shared: Arc<Shared>, listed: Part) {
    let api: Api<SlimPod> = Api::all(client);
    let watch = shared.watches.add("pods", Dependents::All);
    follow(
        api,
        watcher::Config::default(),
        &watch,
        |change| match change {
            Change::Seen(pod) if pod.is_over => {
                shared.with(|engine, _| engine.pod_gone(&pod.uid().unwrap_or_default()));
            }
            Change::Seen(pod) => shared.with(|engine, now| engine.pod_seen(now, pod.facts)),
            Change::Gone(id) => shared.with(|engine, _| engine.pod_gone(&id.uid)),
            Change::Listed => listed.done(),
        },
    )
    .await;
}

fn facts(metadata: &ObjectMeta, spec: Spec, conditions: &[Condition]) -> PodFacts {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    let deleting = metadata.deletion_timestamp.is_some();
    let ready = conditions
        .iter()
        .any(|is| is.kind == "Ready" && is.status == "True");
    let owner = metadata
        .owner_references
        .iter()
        .flatten()
        .find(|reference| reference.controller == Some(true));
    let annotations = metadata.annotations.as_ref();
    let cost = annotations.and_then(|annotations| annotations.get(DELETION_COST));
    PodFacts {
        uid: text(&metadata.uid),
        namespace: text(&metadata.namespace),
        name: text(&metadata.name),
        node: spec.node_name,
        ready: ready && !deleting,
        deleting,
        opted_in: annotations.is_some_and(opted_in),
        owner: owner
            .and_then(|owner| {
                Owner::named(&owner.api_version, &owner.kind, &owner.name, &owner.uid)
            })
            .map(Arc::new),
        deletion_cost: cost.and_then(|cost| cost.parse().ok()),
        created: created(metadata),
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
        let facts = read(|_| ()).facts;
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
        let facts = pod.facts;
        assert!(facts.deleting && !facts.ready);
    }

    #[test]
    fn one_that_is_not_bound_or_has_no_status_yet() {
        let facts = read(|pod| {
            pod["spec"] = serde_json::json!({});
            pod["status"] = serde_json::json!({});
        })
        .facts;
        assert_eq!((facts.node, facts.ready), (None, false));
        assert!(read(|pod| pod["status"]["phase"] = "Failed".into()).is_over);
    }
}
