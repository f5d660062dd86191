//! Missing data never causes a scale-down, and a workload at zero can always be scaled up again. (These are the cases
//! P1, P2, P4 and P11, after which the tests are named.)

use std::time::Duration;

use ebb_e2e::api::path;
use ebb_e2e::simulated::NEVER_READY;
use ebb_e2e::{Cluster, SOON, Scales, deployment, opted_in};
use ebb_fixtures::{Case, Need, eventually, note};
use serde_json::{Value, json};

use crate::light::{CARRIES, Light, fast, on_simulated};
use crate::world::{FAST, TEN, events};
use crate::zero::{self, Zero};

/// What tests with a Service need, because their pods are processes in cgroups, each with its own IP address.
const SERVED: &[Need] = &[Need::Cgroup, Need::Network];

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "trust::p2_owners_unresolved_for_longer_than_the_start_waits",
        &[],
        p2_owners_unresolved,
    ),
    Case::beside("trust::p1_opt_in_keeps_20", &[], p1_opt_in_keeps_20),
    Case::beside(
        "trust::p1_restart_with_none_of_50_ready",
        &[],
        p1_restart_with_none_of_50_ready,
    ),
    Case::beside(
        "trust::p1_one_of_two_replicasets_unresolved",
        &[],
        p1_one_of_two_replicasets_unresolved,
    ),
    Case::beside(
        "trust::p11_owner_forbidden_then_granted",
        &[],
        p11_owner_forbidden_then_granted,
    ),
    Case::beside(
        "trust::p4_deployment_owned_by_a_custom_resource_at_zero",
        SERVED,
        p4_owned_by_a_custom_resource,
    ),
    Case::beside("trust::p4_rollout_at_zero", SERVED, p4_rollout_at_zero),
];

/// A time longer than the sum of three times: a window, two decision intervals, and the time for which a pod may be
/// without reports. An autoscaler that scales down without data does so within this time.
const LONG: Duration = Duration::from_secs(15);
/// Time limit until an owner is resolved and its workload scaled: the autoscaler retries within 60 s, and 10 s allow
/// for a decision.
const FOUND_WITHIN: Duration = Duration::from_secs(70);

/// Returns a concurrency that requires this number of pods.
fn for_pods(pods: u32) -> f64 {
    (f64::from(pods) - 0.5) * CARRIES
}

fn p1_opt_in_keeps_20() {
    let light = Light::new();
    light.app("opt-in", "web", 20, &json!({}));
    light.nodes.load("opt-in", "web", for_pods(20));
    let annotations = fast(&[("autoscaling.knative.dev/min-scale", "1")]);
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let at = path("apps/v1", "Deployment", "opt-in", "web");
    light.api().merge(&at, &patch).unwrap();
    light.assert_never_below("opt-in", "web", 20, LONG);
    // The autoscaler has measured the load before, so it must scale down when the load ends.
    let ended = light.nodes.load("opt-in", "web", 0.0);
    light.await_replicas("opt-in", "web", SOON, 1);
    light.assert_fell_with_its_load("opt-in", "web", for_pods(20), ended);
}

fn p1_restart_with_none_of_50_ready() {
    let mut light = Light::new();
    light.nodes.silence();
    light.cluster.namespace("restart-50");
    let annotations = fast(&[
        (NEVER_READY, "yes"),
        ("autoscaling.knative.dev/min-scale", "2"),
    ]);
    light.api().apply(&on_simulated(deployment(
        "restart-50",
        "web",
        50,
        &annotations,
    )));
    eventually("50 pods", SOON, || {
        let pods = light.api().list("/api/v1/namespaces/restart-50/pods");
        (pods
            .iter()
            .filter(|pod| pod["status"]["podIP"].is_string())
            .count()
            == 50)
            .then_some(())
    });
    light.replicas[0].restart();
    light.replica().await_leading();
    light.assert_never_below("restart-50", "web", 50, LONG);
}

/// A Deployment has two ReplicaSets. The autoscaler cannot read the ReplicaSet whose pods carry the load, and the other
/// ReplicaSet's pods have no load.
fn p1_one_of_two_replicasets_unresolved() {
    // The test needs the API server double, because only the double can refuse requests for one object and answer
    // requests for others.
    let mut light = Light::on(Cluster::double());
    light.app("two-sets", "web", 10, &fast(&[("test/template", "1")]));
    light.nodes.load("two-sets", "web", for_pods(10));
    let first = sets(&light, "two-sets");
    // The rollout does not complete: ten old pods serve, and ten new pods never become ready.
    let at = path("apps/v1", "Deployment", "two-sets", "web");
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"test/template": "2", NEVER_READY: "yes"}}}}});
    light.api().merge(&at, &patch).unwrap();
    eventually("a second ReplicaSet", SOON, || {
        (sets(&light, "two-sets").len() == 2).then_some(())
    });
    // From now on, the API server refuses requests for the ReplicaSet whose pods carry the load.
    let double = light.cluster.as_double().expect("it is the double");
    let owner = format!("/namespaces/two-sets/replicasets/{}", first[0]);
    double.refuse(&owner, 503);
    light.replicas[0].kill();
    light.replicas[0].begin();
    // While owners are unknown, the autoscaler may refuse to lead. It must not scale down.
    light.assert_never_below("two-sets", "web", 10, Duration::from_secs(45));
    double.refuse(&owner, 0);
    light.replica().await_leading();
    light.assert_never_below("two-sets", "web", 10, LONG);
    light.nodes.load("two-sets", "web", 0.0);
    eventually("known again, and shrunk", SOON, || {
        (light.replicas_of("two-sets", "web") < 10).then_some(())
    });
}

fn sets(light: &Light, namespace: &str) -> Vec<String> {
    let sets = light
        .api()
        .list(&path("apps/v1", "ReplicaSet", namespace, ""));
    let names = sets.iter().map(|set| set["metadata"]["name"].as_str());
    names
        .map(|name| name.unwrap_or_default().to_owned())
        .collect()
}

fn p2_owners_unresolved() {
    let mut light = Light::on(Cluster::double());
    light.app("unresolved", "web", 20, &fast(&[]));
    light.app("resolved", "web", 1, &fast(&[]));
    light.nodes.load("unresolved", "web", for_pods(20));
    let owner = "/namespaces/unresolved/replicasets/";
    let double = light.cluster.as_double().expect("it is the double");
    double.refuse(owner, 503);
    light.replicas[0].kill();
    light.replicas[0].begin();
    // The replica cannot read the owner of the workload `unresolved` for longer than it waits at its start. It leads
    // and scales all other workloads nevertheless.
    eventually("leading all the same", Duration::from_secs(90), || {
        light.replica().is_leading().then_some(())
    });
    light.nodes.load("resolved", "web", for_pods(3));
    light.await_replicas("resolved", "web", SOON, 3);
    light.assert_never_below("unresolved", "web", 20, LONG);
    // The autoscaler reports the reason in the workload's state or in an Event.
    let view = light.replica().workload("unresolved", "web").to_string();
    let said = events(light.api(), "unresolved", "Deployment", "web");
    assert!(
        view.contains("owner") || said.iter().any(|(_, note)| note.contains("owner")),
        "neither the workload's state nor an Event names the owner as the reason: {view} {said:?}"
    );
    double.refuse(owner, 0);
    light.nodes.load("unresolved", "web", 0.0);
    eventually("known again, and shrunk", FOUND_WITHIN, || {
        (light.replicas_of("unresolved", "web") < 20).then_some(())
    });
}

/// The kind of an owner can be scaled, but Ebb has no permission to read its objects at first.
fn p11_owner_forbidden_then_granted() {
    let light = Light::new();
    light.cluster.namespace("granted");
    if let Some(double) = light.cluster.as_double() {
        double.refuse("/namespaces/granted/shops/", 403);
    }
    define(&light.cluster, "shops.example.com", "Shop", true);
    let shop = json!({
        "apiVersion": "shops.example.com/v1", "kind": "Shop", "metadata": {"name": "web", "namespace": "granted", "annotations": fast(&[])},
        "spec": {"replicas": 2},
    });
    let shops = path("shops.example.com/v1", "Shop", "granted", "");
    let shop = eventually("a Shop", SOON, || light.api().create(&shops, &shop).ok());
    let mut set = on_simulated(deployment("granted", "web-1", 2, &fast(&[])));
    set["kind"] = "ReplicaSet".into();
    set["spec"]["template"]["metadata"]["labels"]["app"] = "web-1".into();
    set["metadata"]["ownerReferences"] = owned_by(&shop);
    light.api().apply(&set);
    light.await_ready("granted", "web-1", 2);
    light.nodes.load("granted", "web-1", for_pods(2));
    // Waits until the autoscaler has tried to read the owner, the Shop.
    std::thread::sleep(Duration::from_secs(5));
    let refused = light.cluster.audit().iter().any(|entry| {
        let at = entry["requestURI"].as_str().unwrap_or_default();
        at.contains("/shops") && entry["responseStatus"]["code"] == 403
    });
    assert!(
        refused,
        "the autoscaler must have tried to read the Shop that owns the ReplicaSet"
    );
    match light.cluster.as_double() {
        Some(double) => double.refuse("/namespaces/granted/shops/", 0),
        None => {
            light.api().apply(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": "ebb-autoscaler-scales-shops", "labels": {"ebb.dev/aggregate-to-autoscaler": "true"}},
                "rules": [
                    {"apiGroups": ["shops.example.com"], "resources": ["shops"], "verbs": ["get", "list", "watch"]},
                    {"apiGroups": ["shops.example.com"], "resources": ["shops/scale"], "verbs": ["patch", "get"]},
                ],
            }));
        }
    }
    let granted = std::time::Instant::now();
    light
        .nodes
        .load("granted", "web-1", for_pods(2) + 3.0 * CARRIES);
    let at = path("shops.example.com/v1", "Shop", "granted", "web");
    eventually("the Shop scaled", FOUND_WITHIN, || {
        let pods = light.api().get(&at).ok()?["spec"]["replicas"].as_u64()?;
        (pods > 2).then_some(())
    });
    note(format!(
        "an owner object that Ebb had no permission to read is scaled {:.0?} after the permission is granted",
        granted.elapsed()
    ));
}

fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true,
    }])
}

/// Creates a CustomResourceDefinition with a schema that allows any field. `scale`: whether the kind has a scale
/// subresource.
fn define(cluster: &Cluster, group: &str, kind: &str, scale: bool) {
    let singular = kind.to_lowercase();
    let mut version = json!({
        "name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {
                "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"replicas": {"type": "integer"}}},
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"replicas": {"type": "integer"}}},
            }}},
    });
    if scale {
        version["subresources"] = json!({"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}});
    }
    cluster.api().apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": format!("{singular}s"), "singular": singular, "listKind": format!("{kind}List")},
            "versions": [version],
        },
    }));
    let at = path(&format!("{group}/v1"), kind, "", "");
    eventually("the new kind served", SOON, || cluster.api().get(&at).ok());
}

/// A custom resource without a scale subresource owns the Deployment, as with many operators.
fn p4_owned_by_a_custom_resource() {
    let mut zero = Zero::new();
    let namespace = "owned";
    zero.world.cluster.namespace(namespace);
    define(
        &zero.world.cluster,
        "operators.example.com",
        "Platform",
        false,
    );
    let platform = json!({
        "apiVersion": "operators.example.com/v1", "kind": "Platform", "metadata": {"name": "web", "namespace": namespace},
    });
    let platforms = path("operators.example.com/v1", "Platform", namespace, "");
    let platform = eventually("its owner", SOON, || {
        zero.world.api().create(&platforms, &platform).ok()
    });
    zero.world.api().apply(&service(namespace));
    let mut web = deployment(namespace, "web", 1, &opted_in(&[FAST]));
    web["metadata"]["ownerReferences"] = owned_by(&platform);
    zero.world.api().apply(&web);
    at_zero(&zero, namespace);
    zero.world.replicas[0].restart();
    zero.world.replica().await_leading();
    // This pause is longer than the autoscaler takes to remove an activator without reports, and to receive a report
    // from an activator.
    std::thread::sleep(LONG);
    assert!(
        !zero.proxy.newest(namespace, "web").activators.is_empty(),
        "the restart removed the activator endpoints of the Service"
    );
    zero::assert_answered(&zero, namespace, "web", 5);
}

/// A Rollout at zero, which owns a ReplicaSet. The test acts as the Rollout's controller.
fn p4_rollout_at_zero() {
    let mut zero = Zero::new();
    let namespace = "rollout";
    zero.world.cluster.namespace(namespace);
    define(&zero.world.cluster, "argoproj.io", "Rollout", true);
    zero.world.api().apply(&service(namespace));
    let template =
        deployment(namespace, "web", 1, &opted_in(&[FAST, TEN]))["spec"]["template"].clone();
    let rollout = json!({
        "apiVersion": "argoproj.io/v1", "kind": "Rollout", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 1, "template": template},
    });
    let rollouts = path("argoproj.io/v1", "Rollout", namespace, "");
    let rollout = eventually("a Rollout", SOON, || {
        zero.world.api().create(&rollouts, &rollout).ok()
    });
    let mut set = deployment(namespace, "web-1", 1, &opted_in(&[FAST, TEN]));
    set["kind"] = "ReplicaSet".into();
    set["spec"]["selector"]["matchLabels"]["app"] = "web".into();
    set["spec"]["template"]["metadata"]["labels"]["app"] = "web".into();
    set["metadata"]["ownerReferences"] = owned_by(&rollout);
    zero.world.api().apply(&set);
    let api = zero.world.api().clone();
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = std::sync::Arc::clone(&ended);
    let controller = std::thread::spawn(move || {
        let rollout = path("argoproj.io/v1", "Rollout", namespace, "web");
        let set = path("apps/v1", "ReplicaSet", namespace, "web-1");
        while !ends.load(std::sync::atomic::Ordering::Relaxed) {
            if let Ok(rollout) = api.get(&rollout) {
                let pods = json!({"spec": {"replicas": rollout["spec"]["replicas"]}});
                api.merge(&set, &pods).ok();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    eventually("at zero, with activators", zero::TO_ZERO, || {
        let endpoints = zero.proxy.endpoints(namespace, "web");
        let pods = zero.world.kubelet.pods();
        let none = pods.iter().all(|pod| pod.namespace != namespace);
        (none && endpoints.pods.is_empty() && !endpoints.activators.is_empty()).then_some(())
    });
    zero.world.replicas[0].restart();
    zero.world.replica().await_leading();
    std::thread::sleep(LONG);
    assert!(
        !zero.proxy.newest(namespace, "web").activators.is_empty(),
        "the restart removed the activator endpoints of the Service"
    );
    zero::assert_answered(&zero, namespace, "web", 5);
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    controller.join().unwrap();
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    })
}

fn at_zero(zero: &Zero, namespace: &str) {
    let scales: &Scales = &zero.scales;
    eventually("at zero, with activators", zero::TO_ZERO, || {
        let at_zero = scales
            .of(namespace, "web")
            .is_some_and(|(pods, _)| pods == 0);
        let endpoints = zero.proxy.endpoints(namespace, "web");
        (at_zero && endpoints.pods.is_empty() && !endpoints.activators.is_empty()).then_some(())
    });
}
