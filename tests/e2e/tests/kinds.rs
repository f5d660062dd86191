//! Ebb scales every kind that has a scale subresource.

use ebb_e2e::api::path;
use ebb_e2e::{Api, SOON, Traffic, opted_in};
use ebb_fixtures::{Case, eventually};
use serde_json::{Value, json};

use crate::world::{FAST, NODES, REQUEST, TEN, World, await_event, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside("kinds::a_stateful_set", NODES, stateful_set),
    Case::beside("kinds::a_replica_set_of_nobody", NODES, replica_set),
    Case::beside("kinds::a_kind_of_somebody_elses", NODES, custom),
    Case::beside("kinds::a_bare_pod_cannot_be_scaled", NODES, bare_pod),
];

fn template(app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}, "annotations": opted_in(&[FAST, TEN])},
        "spec": {"containers": [{"name": "app", "image": "ebb-sample", "resources": {"requests": {"cpu": "1m"}}}]},
    })
}

#[track_caller]
fn follows_its_traffic(world: &World, namespace: &str, object: &str) {
    let endpoints = world.kubelet.endpoints(namespace, "web");
    eventually("a pod serving", SOON, || {
        (!endpoints().is_empty()).then_some(())
    });
    let traffic = Traffic::new(endpoints, 21, REQUEST);
    traffic.set(21);
    let replicas = || world.api().get(object).ok()?["spec"]["replicas"].as_u64();
    eventually("scaled up", SOON, || {
        replicas().filter(|replicas| (2..=4).contains(replicas))
    });
    traffic.set(0);
    eventually("scaled down", SOON, || {
        replicas().filter(|replicas| *replicas == 1)
    });
    traffic.assert_all_ok();
    world.api().delete(object).ok();
}

fn stateful_set() {
    stateful_set_in(&shared(), "stateful");
}

pub(crate) fn stateful_set_in(world: &World, namespace: &str) {
    world.cluster.namespace(namespace);
    world.api().apply(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 1, "serviceName": "web", "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": "web"}}, "template": template("web"),
        },
    }));
    follows_its_traffic(
        world,
        namespace,
        &path("apps/v1", "StatefulSet", namespace, "web"),
    );
}

fn replica_set() {
    replica_set_in(&shared(), "replicas");
}

/// Tests a ReplicaSet without an owner.
pub(crate) fn replica_set_in(world: &World, namespace: &str) {
    world.cluster.namespace(namespace);
    world.api().apply(&json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")},
    }));
    follows_its_traffic(
        world,
        namespace,
        &path("apps/v1", "ReplicaSet", namespace, "web"),
    );
}

/// Tests a custom kind like Argo's Rollout, whose object owns a ReplicaSet. The test acts as the controller: it sets
/// the ReplicaSet's replicas to the Rollout's replicas.
fn custom() {
    custom_in(&shared(), "custom");
}

pub(crate) fn custom_in(world: &World, namespace: &str) {
    world.cluster.namespace(namespace);
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    world.api().apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "listKind": "RolloutList"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                        "properties": {"replicas": {"type": "integer"}}},
                    "status": any,
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
            }],
        },
    }));
    let rollout = path("argoproj.io/v1alpha1", "Rollout", namespace, "web");
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 1, "template": template("web")},
    });
    let created = eventually("the new kind served", SOON, || {
        world
            .api()
            .create(
                &path("argoproj.io/v1alpha1", "Rollout", namespace, ""),
                &object,
            )
            .ok()
    });
    world.api().apply(&json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "namespace": namespace, "ownerReferences": [{
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": created["metadata"]["uid"], "controller": true,
        }]},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")},
    }));
    let (api, set) = (
        world.api().clone(),
        path("apps/v1", "ReplicaSet", namespace, "web-1"),
    );
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let controller = {
        let (ended, rollout) = (std::sync::Arc::clone(&ended), rollout.clone());
        std::thread::spawn(move || {
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok(rollout) = api.get(&rollout) {
                    api.merge(
                        &set,
                        &json!({"spec": {"replicas": rollout["spec"]["replicas"]}}),
                    )
                    .ok();
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        })
    };
    follows_its_traffic(world, namespace, &rollout);
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    controller.join().unwrap();
}

fn bare_pod() {
    let world = shared();
    world.cluster.namespace("bare");
    let mut pod = template("web");
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "alone".into();
    pod["metadata"]["namespace"] = "bare".into();
    world.api().apply(&pod);
    let note = await_event(world.api(), "bare", "Pod", "alone", "NotScalable");
    assert!(note.contains("no object that can be scaled owns"), "{note}");
    world.api().delete(&path("v1", "Pod", "bare", "alone")).ok();
}

/// Creates a CustomResourceDefinition of a third-party kind, with a schema that allows any field.
pub(crate) fn define(api: &Api, group: &str, version: &str, kind: &str) {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    api.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List")},
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    }));
    eventually("the new kind served", SOON, || {
        let path = path(&format!("{group}/{version}"), kind, "", "");
        api.get(&path).ok()
    });
}
