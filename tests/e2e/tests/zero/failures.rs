//! Failures while a workload scales up from zero. Each client gets a clear response, a metric counts the failure, and
//! no request stays queued.

use std::time::{Duration, Instant};

use ebb_e2e::api::path;
use ebb_e2e::kubelet::START_DELAY;
use ebb_fixtures::{eventually, note};

use super::client::{all, assert_all_ok, many, one};
use super::world::{App, MAX_WAIT, TO_ZERO, Zero, shared};

/// Number of concurrent requests: about a hundred to each of the two activators.
const REQUESTS: usize = 200;

/// Waits for the first pod of an app, ready or not, and returns the pod's name.
#[track_caller]
fn await_started(zero: &Zero, app: &App<'_>) -> String {
    let pods = zero.world.kubelet.watcher();
    eventually("a pod that starts", TO_ZERO, || {
        let pod = pods()
            .into_iter()
            .find(|pod| (&*pod.namespace, &*pod.app) == app.names())?;
        Some(pod.name)
    })
}

pub(super) fn pod_killed_in_mid_start() {
    let zero = shared();
    let app = zero.app("mid-start", "web", &[(START_DELAY, "2s")]);
    app.await_zero();
    let requests = many(10, &app.pick(), "/");
    let first = await_started(&zero, &app);
    let (namespace, _) = app.names();
    let killed = zero.world.api().ask(
        "DELETE",
        &path("v1", "Pod", namespace, &first),
        "application/json",
        &serde_json::json!({"gracePeriodSeconds": 0}),
    );
    killed.unwrap();
    assert_all_ok(&all(requests));
    note("pod killed during its start: the next pod answered its 10 requests".to_owned());
}

pub(super) fn pod_never_ready() {
    let zero = shared();
    let app = zero.app("never-ready", "web", &[(START_DELAY, "1s")]);
    app.await_zero();
    // With a start delay of 1 h, new pods do not become ready during the test.
    let (namespace, name) = app.names();
    let never = serde_json::json!({"spec": {"template": {"metadata": {"annotations": {START_DELAY: "1h"}}}}});
    let at = path("apps/v1", "Deployment", namespace, name);
    zero.world.api().merge(&at, &never).unwrap();
    let begun = Instant::now();
    let answers = all(many(3, &app.pick(), "/"));
    let took = begun.elapsed();
    for answer in &answers {
        let answer = answer.as_ref().unwrap();
        assert_eq!(answer.status, 504, "{answer:?}");
        assert!(answer.body.starts_with("ebb: "), "{answer:?}");
    }
    assert!(
        (MAX_WAIT..MAX_WAIT + Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    let counted = zero.metric(
        "ebb_activator_refused_total",
        &app,
        "reason=\"waited-too-long\"",
    );
    assert_eq!(counted as u64, 3);
    // After the template is corrected, the workload must serve requests.
    let mended = serde_json::json!({"spec": {"template": {"metadata": {"annotations": {START_DELAY: "0s"}}}}});
    zero.world.api().merge(&at, &mended).unwrap();
    assert_all_ok(&all(vec![one(&app.pick(), "/")]));
    note(format!(
        "pod never ready: status 504 after {:.1} s, counted with reason waited-too-long",
        took.as_secs_f64()
    ));
}

pub(super) fn activator_killed() {
    let zero = shared();
    let app = zero.app("killed", "web", &[(START_DELAY, "3s")]);
    app.await_zero();
    eventually("both activators are in the request path", TO_ZERO, || {
        (app.endpoints().activators.len() == 2).then_some(())
    });
    let requests = many(REQUESTS, &app.pick(), "/");
    eventually("all requests are queued", TO_ZERO, || {
        let held = zero.metric("ebb_activator_queued_requests", &app, "");
        (held as usize == REQUESTS).then_some(())
    });
    let victim = &zero.activators[0];
    victim.kill();
    let killed = Instant::now();
    let answers = all(requests);
    let (ok, cut): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200));
    assert!(
        cut.iter().all(|answer| answer.is_err()),
        "a request without status 200 must end with an aborted connection: {cut:?}"
    );
    // The activator that was not killed has queued and answered about half of the requests.
    assert!((60..=140).contains(&ok.len()), "{} answered", ok.len());
    let alone = |app: &App<'_>| {
        let activators = app.endpoints().activators;
        activators.iter().all(|it| it.ip() != victim.address())
    };
    eventually("endpoint removed", TO_ZERO, || alone(&app).then_some(()));
    let out = killed.elapsed();
    // The remaining activator alone must scale the workload up from zero.
    app.await_zero();
    assert_all_ok(&all(many(10, &app.pick(), "/")));
    let restarted = Instant::now();
    victim.begin();
    eventually("both activators are endpoints again", TO_ZERO, || {
        (app.endpoints().activators.len() == 2).then_some(())
    });
    let back = restarted.elapsed();
    app.await_zero();
    assert_all_ok(&all(many(20, &app.pick(), "/")));
    note(format!(
        "activator killed with {} queued requests: their connections were aborted, and {} requests at the other \
         activator were answered; removed from the EndpointSlices after {:.1} s, added again {:.1} s after its restart",
        cut.len(),
        ok.len(),
        out.as_secs_f64(),
        back.as_secs_f64(),
    ));
}

/// A terminating activator is first removed from the EndpointSlices. Until it ends, it answers the requests that still
/// arrive.
pub(super) fn activator_restarted() {
    let zero = shared();
    let app = zero.app("restarted", "web", &[]);
    app.await_zero();
    let one_of_two = &zero.activators[1];
    std::thread::scope(|scope| {
        let ends = scope.spawn(|| one_of_two.finish());
        let mut asked = 0;
        while !ends.is_finished() {
            assert_all_ok(&all(many(2, &app.pick(), "/")));
            asked += 2;
            std::thread::sleep(Duration::from_millis(20));
        }
        ends.join().unwrap();
        note(format!(
            "activator ended with SIGTERM: {asked} requests until it ended, all answered"
        ));
    });
    one_of_two.begin();
    app.await_zero();
    eventually("both activators are endpoints again", TO_ZERO, || {
        (app.endpoints().activators.len() == 2).then_some(())
    });
    assert_all_ok(&all(many(4, &app.pick(), "/")));
}
