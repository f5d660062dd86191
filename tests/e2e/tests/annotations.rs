//! Annotations of a workload: opting out, invalid values, pods that cannot be counted, and recommend mode.

use std::time::Duration;

use ebb_e2e::SOON;
use ebb_fixtures::{Case, eventually};
use serde_json::json;

use crate::world::{FAST, NODES, TEN, await_event, shared};

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
        "annotations::recommend_tells_and_does_not_write",
        NODES,
        recommend,
    ),
];

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

fn not_counted() {
    let world = shared();
    let _app = world.deploy("not-counted", "web", 1, &[("ebb.dev/ports", "http")]);
    let pod = eventually("it has a pod", SOON, || {
        let pods = world.api().list("/api/v1/namespaces/not-counted/pods");
        pods.first()?["metadata"]["name"]
            .as_str()
            .map(ToOwned::to_owned)
    });
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
