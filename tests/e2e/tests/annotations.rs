//! Annotations of a workload: opting out, invalid values, pods that cannot be counted, and recommend mode.

use std::time::Duration;

use ebb_e2e::{SOON, deployment, opted_in};
use ebb_fixtures::{Case, Need, eventually};
use serde_json::json;

use crate::world::{FAST, NODES, TEN, World, await_event, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside("annotations::removed_and_it_is_left_alone", NODES, removed),
    Case::beside(
        "annotations::a_bad_one_is_named_and_nothing_is_scaled",
        NODES,
        bad,
    ),
    Case::beside(
        "annotations::a_pod_that_cannot_be_counted_says_so",
        NODES,
        not_counted,
    ),
    Case::beside(
        "annotations::a_sidecar_without_a_port_is_shown_with_advice",
        AGENTS,
        sidecar_without_port,
    ),
    Case::beside(
        "annotations::too_many_ports_are_shown_with_advice",
        AGENTS,
        too_many_ports,
    ),
    Case::beside(
        "annotations::recommend_tells_and_does_not_write",
        NODES,
        recommend,
    ),
];

/// What a test needs that looks at what `ebb-agent` says, and not at a stand-in agent.
const AGENTS: &[Need] = &[Need::Cgroup, Need::Kernel];

/// A time longer than three decision intervals of 2 s each.
const A_WHILE: Duration = Duration::from_secs(7);

fn removed() {
    let world = shared();
    let app = world.app("opt-out", "web", 1, &[FAST, TEN]);
    eventually("the autoscaler lists the workload", SOON, || {
        app.view().is_object().then_some(())
    });
    let class = json!({"spec": {"template": {"metadata": {"annotations": {"autoscaling.knative.dev/class": null}}}}});
    world.api().merge(&app.path(), &class).unwrap();
    eventually("the autoscaler no longer lists the workload", SOON, || {
        app.view().is_null().then_some(())
    });
    let traffic = app.traffic(40);
    traffic.set(40);
    app.assert_stays(1, A_WHILE);
}

/// Returns the name of a pod in the namespace.
fn pod_in(world: &World, namespace: &str) -> String {
    eventually("it has a pod", SOON, || {
        let pods = world
            .api()
            .list(&format!("/api/v1/namespaces/{namespace}/pods"));
        pods.first()?["metadata"]["name"]
            .as_str()
            .map(ToOwned::to_owned)
    })
}

/// What the injector of a mesh writes is on the pod only; here the template has it.
const MESH: (&str, &str) = ("linkerd.io/proxy-version", "edge-25.4.4");

fn sidecar_without_port() {
    let world = shared();
    let app = world.app("meshed", "web", 1, &[FAST, MESH]);
    let pod = pod_in(&world, "meshed");
    let note = await_event(world.api(), "meshed", "Pod", &pod, "CountedAtEdge");
    assert!(note.contains("(linkerd)"), "{note}");
    assert!(note.contains("ebb.dev/ports"), "{note}");
    let at = eventually("the page shows the choice", SOON, || {
        let at = app.view()["counted_at"][0].clone();
        at.is_object().then_some(at)
    });
    assert_eq!(at["text"], "counted at the edge (linkerd)");
    assert_eq!((&at["pods"], &at["ports"]), (&json!(1), &json!([])));
    assert!(at["advice"].as_str().unwrap().contains("containerPort"));
}

fn too_many_ports() {
    let world = shared();
    world.cluster.namespace("crowded");
    let mut manifest = deployment("crowded", "web", 1, &opted_in(&[FAST, MESH]));
    let ports: Vec<_> = (8000..8017)
        .map(|port| json!({"containerPort": port}))
        .collect();
    manifest["spec"]["template"]["spec"]["containers"][0]["ports"] = json!(ports);
    world.api().apply(&manifest);
    let pod = pod_in(&world, "crowded");
    let note = await_event(world.api(), "crowded", "Pod", &pod, "NotCounted");
    for part in ["17 TCP ports", "16 at most", "ebb.dev/ports", "8016"] {
        assert!(note.contains(part), "{note}");
    }
    let not = eventually("the page shows the reason", SOON, || {
        let not = world.replica().workload("crowded", "web")["not_counted"][0].clone();
        not.is_object().then_some(not)
    });
    assert_eq!(not["pod"], json!(pod));
    assert!(not["why"].as_str().unwrap().contains("17 TCP ports"));
    let path = "/apis/apps/v1/namespaces/crowded/deployments/web";
    world.api().delete(path).unwrap();
}

fn not_counted() {
    let world = shared();
    let _app = world.deploy("not-counted", "web", 1, &[("ebb.dev/ports", "http")]);
    let pod = pod_in(&world, "not-counted");
    let note = await_event(world.api(), "not-counted", "Pod", &pod, "NotCounted");
    assert!(
        note.contains("ebb.dev/ports") && note.contains("http"),
        "{note}"
    );
}

fn bad() {
    let world = shared();
    let app = world.app(
        "bad",
        "web",
        1,
        &[FAST, ("autoscaling.knative.dev/target", "ten")],
    );
    let note = app.await_event("InvalidAnnotations");
    assert!(note.contains("autoscaling.knative.dev/target"), "{note}");
    let traffic = app.traffic(40);
    traffic.set(40);
    app.assert_stays(1, A_WHILE);
    assert_eq!(app.view()["mode"], "not_scaled");
    // After the annotation is corrected, the autoscaler must scale the workload.
    let mended = json!({"spec": {"template": {"metadata": {"annotations": {"autoscaling.knative.dev/target": "10"}}}}});
    world.api().merge(&app.path(), &mended).unwrap();
    app.await_replicas(SOON, |replicas| replicas >= 4);
}

fn recommend() {
    let world = shared();
    let app = world.app(
        "recommend",
        "web",
        1,
        &[FAST, TEN, ("ebb.dev/mode", "recommend")],
    );
    let traffic = app.traffic(35);
    traffic.set(35);
    let note = app.await_event("Recommended");
    assert!(note.starts_with("from 1 to "), "{note}");
    eventually("the recommendation is published", SOON, || {
        let view = app.view();
        (view["mode"] == "recommend" && view["desired_replicas"].as_u64() >= Some(4)).then_some(())
    });
    app.assert_stays(1, A_WHILE);
    traffic.assert_all_ok();
}
