//! A hard limit on the concurrency per pod, with an activator permanently in the request path.

use std::time::{Duration, Instant};

use ebb_fixtures::{eventually, note};
use serde_json::json;

use super::client::{all, assert_all_ok, many};
use super::world::{TO_ZERO, shared};

const REQUESTS: usize = 40;
const EACH: Duration = Duration::from_millis(50);

/// The Service has at most one pod, which gets one request at a time. So concurrent requests take at least the sum of
/// their durations.
pub(super) fn one_at_a_time() {
    let zero = shared();
    let app = zero.app_behind(
        "hard-limit",
        "web",
        &[
            ("ebb.dev/hard-limit", "1"),
            ("autoscaling.knative.dev/max-scale", "1"),
        ],
        &[
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "web", "namespace": "hard-limit", "annotations": {"ebb.dev/pods-of": "pods"}},
                "spec": {"ports": [{"name": "http", "port": 80}]},
            }),
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "pods", "namespace": "hard-limit"},
                "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]},
            }),
        ],
    );
    app.await_zero();
    assert_eq!(app.view()["hard_limit"], 1);
    assert_eq!(
        app.endpoints().activators.len(),
        1,
        "exactly one activator must enforce the hard limit of 1"
    );
    let ask = || {
        many(
            REQUESTS,
            &app.pick(),
            &format!("/?sleep={}", EACH.as_millis()),
        )
    };
    // The first requests start the pod; they are not measured.
    assert_all_ok(&all(ask()));
    let begun = Instant::now();
    let requests = ask();
    eventually("requests are queued", TO_ZERO, || {
        (zero.metric("ebb_activator_queued_requests", &app, "") > 0.0).then_some(())
    });
    let answers = all(requests);
    let took = begun.elapsed();
    assert_all_ok(&answers);
    let least = EACH * REQUESTS as u32;
    assert!(
        took >= least,
        "the requests took {took:?}, less than {least:?}, so some were served at the same time"
    );
    assert_eq!(
        app.endpoints().activators.len(),
        1,
        "the activator must stay in the request path when there is a pod"
    );
    note(format!(
        "hard limit 1 in a cluster: {REQUESTS} concurrent requests of {} ms each took {:.2} s, all answered",
        EACH.as_millis(),
        took.as_secs_f64()
    ));
}
