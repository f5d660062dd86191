//! Workloads follow their traffic.

use std::thread;
use std::time::Duration;

use ebb_tests::cluster::{SOON, Traffic};
use ebb_tests::harness::{Case, eventually, note};

use crate::world::{FAST, TEN, shared};

pub(crate) const CASES: &[Case] = &[
    Case::new(
        "scale::from_one_to_many_and_back",
        &[],
        from_one_to_many_and_back,
    ),
    Case::new("scale::two_side_by_side_do_not_mix", &[], two_side_by_side),
    Case::new(
        "scale::each_revision_by_its_own_share",
        &[],
        each_revision_by_its_own_share,
    ),
    Case::new("scale::pods_in_use_stay", &[], pods_in_use_stay),
];

fn from_one_to_many_and_back() {
    let world = shared();
    let app = world.app("one-to-many", "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(35);
    traffic.set(35);
    // 35 in flight, 7 a pod; a closed loop of clients has a little less in flight than it has clients.
    let most = app.await_replicas(SOON, |replicas| (4..=6).contains(&replicas));
    app.await_serving(most as usize);
    assert!(app.await_event("ScaledUp").starts_with("from 1 to "));
    // It stays there.
    thread::sleep(Duration::from_secs(10));
    let steady = app.replicas();
    assert!((4..=6).contains(&steady), "{steady}: {}", app.view());
    traffic.set(0);
    app.await_replicas(SOON, |replicas| replicas == 1);
    app.await_serving(1);
    traffic.assert_all_ok();
    app.await_event("ScaledDown");
    note(format!(
        "1 → {steady} → 1: {} requests, all answered",
        traffic.outcome().answered
    ));
}

fn two_side_by_side() {
    let world = shared();
    let busy = world.app("side-by-side", "busy", 1, &[FAST, TEN]);
    let calm = world.app("side-by-side", "calm", 1, &[FAST, TEN]);
    let (to_busy, to_calm) = (busy.traffic(28), calm.traffic(3));
    to_busy.set(28);
    to_calm.set(3);
    busy.await_replicas(SOON, |replicas| (3..=5).contains(&replicas));
    calm.assert_stays(1, Duration::from_secs(8));
    let (busy_load, calm_load) = (
        busy.view()["stable"].as_f64().unwrap(),
        calm.view()["stable"].as_f64().unwrap(),
    );
    assert!((20.0..=28.5).contains(&busy_load), "{busy_load}");
    assert!((2.0..=3.2).contains(&calm_load), "{calm_load}");
    to_busy.assert_all_ok();
    to_calm.assert_all_ok();
}

fn each_revision_by_its_own_share() {
    let world = shared();
    let (old, new) = (
        world.app("split", "web-00001", 1, &[FAST, TEN]),
        world.app("split", "web-00002", 1, &[FAST, TEN]),
    );
    // 50 clients, of which 70 % are sent to one revision and 30 % to the other.
    let (to_old, to_new) = (old.traffic(35), new.traffic(15));
    to_old.set(35);
    to_new.set(15);
    old.await_replicas(SOON, |replicas| (4..=6).contains(&replicas));
    new.await_replicas(SOON, |replicas| (2..=3).contains(&replicas));
    thread::sleep(Duration::from_secs(8));
    let (many, few) = (old.replicas(), new.replicas());
    assert!(
        (4..=6).contains(&many) && (2..=3).contains(&few),
        "{many} and {few}"
    );
    to_old.assert_all_ok();
    to_new.assert_all_ok();
    note(format!("70/30 split of 50 clients: {many} and {few} pods"));
}

/// Five pods, two of which answer long requests; when the short ones end, the three others go.
fn pods_in_use_stay() {
    let world = shared();
    let app = world.app(
        "in-use",
        "web",
        1,
        &[FAST, TEN, ("autoscaling.knative.dev/initial-scale", "1")],
    );
    let short = app.traffic(35);
    short.set(35);
    app.await_replicas(SOON, |replicas| replicas >= 4);
    eventually("four pods serving", SOON, || {
        (world.kubelet.endpoints("in-use", "web")().len() >= 4).then_some(())
    });
    let endpoints = world.kubelet.endpoints("in-use", "web")();
    let chosen = vec![endpoints[0], endpoints[2]];
    let long = {
        let chosen = chosen.clone();
        Traffic::new(move || chosen.clone(), 4, Duration::from_secs(20))
    };
    long.set(4);
    thread::sleep(Duration::from_secs(2));
    short.set(0);
    // Four in flight need one pod, so in the end one of the two would go too: until then the idle go first.
    app.await_replicas(SOON, |replicas| replicas <= 2);
    eventually("two pods left", SOON, || {
        (world.kubelet.endpoints("in-use", "web")().len() <= 2).then_some(())
    });
    let left = world.kubelet.endpoints("in-use", "web")();
    assert!(
        left.iter().all(|address| chosen.contains(address)),
        "{left:?} left, {chosen:?} in use"
    );
    long.set(0);
    eventually("the long requests answered", SOON, || {
        (long.outcome().answered >= 4).then_some(())
    });
    short.assert_all_ok();
    long.assert_all_ok();
    note(format!(
        "pods in use stayed: {} long requests on 2 of {} pods, none cut",
        long.outcome().answered,
        endpoints.len()
    ));
}
