//! The activators are in the request path of a Service only while requests may have to be queued.

use std::time::{Duration, Instant};

use ebb_fixtures::{eventually, note};

use super::client::{all, assert_all_ok, many, one};
use super::world::{TO_ZERO, shared};
use crate::world::TEN;

/// The promised maximum time from a ready pod to a request path without activators on all nodes.
const OUT_WITHIN: Duration = Duration::from_secs(2);
/// Path of a request of 12 s, longer than the rest of the test.
const LONG: &str = "/?sleep=12000";

/// If there is excess burst capacity, the activators leave the request path, new connections go directly to the pods,
/// and requests in flight continue.
pub(super) fn leaves() {
    let zero = shared();
    let reserve = ("autoscaling.knative.dev/target-burst-capacity", "5");
    let app = zero.app("leaves", "web", &[TEN, reserve]);
    app.await_zero();
    let long = one(&app.pick(), LONG);
    let back = eventually("a ready pod", TO_ZERO, || app.pod_told());
    eventually("the activators leave the request path", TO_ZERO, || {
        app.newest().activators.is_empty().then_some(())
    });
    let took = back.elapsed();
    // The nodes' kube-proxies apply the change with a delay.
    eventually("new connections go directly to the pods", TO_ZERO, || {
        app.endpoints().activators.is_empty().then_some(())
    });
    let known = back.elapsed();
    assert!(known < OUT_WITHIN, "{known:?}");
    let answers = all(many(20, &app.pick(), "/"));
    assert_all_ok(&answers);
    let pods = app.endpoints().pods;
    for answer in answers.iter().flatten() {
        assert!(pods.contains(&answer.from), "{} is no pod", answer.from);
    }
    assert!(
        !long.is_finished(),
        "a request in flight must continue through its activator when the activators leave the request path"
    );
    let long = all(vec![long]).remove(0).unwrap();
    assert_eq!(long.status, 200);
    assert!(!pods.contains(&long.from));
    note(format!(
        "ready pod: EndpointSlices without activators after {:.2} s, new connections without activators after {:.2} s; \
         a request of 12 s through an activator continued",
        took.as_secs_f64(),
        known.as_secs_f64(),
    ));
}

/// A burst that uses up the excess burst capacity brings the activators back into the request path.
pub(super) fn comes_back_in_a_burst() {
    let zero = shared();
    let reserve = ("autoscaling.knative.dev/target-burst-capacity", "5");
    let most = ("autoscaling.knative.dev/max-scale", "1");
    let least = ("autoscaling.knative.dev/min-scale", "1");
    let app = zero.app("burst-path", "web", &[TEN, reserve, most, least]);
    eventually("one counted pod and no activator", TO_ZERO, || {
        let endpoints = app.endpoints();
        // The agent may discover a pod after the pod's first requests, and counts only later requests. So the test
        // waits until the pod is counted.
        let view = app.view();
        let counted = view["ready_replicas"] == 1 && view["pods_without_metrics"] == 0;
        (counted && endpoints.pods.len() == 1 && endpoints.activators.is_empty()).then_some(())
    });
    let begun = Instant::now();
    let requests = many(8, &app.pick(), "/?sleep=8000");
    eventually("the activators enter the request path", TO_ZERO, || {
        (!app.newest().activators.is_empty()).then_some(())
    });
    note(format!(
        "8 requests in flight, target 10, target burst capacity 5: activators in the request path after {:.2} s",
        begun.elapsed().as_secs_f64()
    ));
    assert_all_ok(&all(requests));
}
