//! The replicas of workloads follow their traffic.

use std::time::{Duration, Instant};

use ebb_e2e::{SOON, Traffic};
use ebb_fixtures::{Case, eventually, note};

use crate::world::{FAST, FIVE, NODES, TEN, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "scale::from_one_to_many_and_back",
        NODES,
        from_one_to_many_and_back,
    ),
    Case::beside(
        "scale::two_side_by_side_do_not_mix",
        NODES,
        two_side_by_side,
    ),
    Case::beside(
        "scale::each_revision_by_its_own_share",
        NODES,
        each_revision_by_its_own_share,
    ),
    Case::beside("scale::pods_in_use_stay", NODES, pods_in_use_stay),
];

/// `LONG`: number of concurrent long requests. They need two pods, because the autoscaler aims at 7 requests per pod
/// (12 / 7 = 1.7). `LONG_REQUEST`: duration of each long request, longer than a window and the decisions after it.
const LONG: usize = 12;
const LONG_REQUEST: Duration = Duration::from_secs(20);

fn from_one_to_many_and_back() {
    let world = shared();
    let app = world.app("one-to-many", "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(FIVE);
    traffic.set(FIVE);
    assert!(app.await_event("ScaledUp").starts_with("from 1 to "));
    // 32 clients and 7 requests in flight per pod need 5 pods. The range allows for fewer requests in flight than
    // clients, because each client pauses between two requests.
    let steady = app.await_steady(4..=6);
    app.await_serving(steady as usize);
    traffic.set(0);
    app.await_replicas(SOON, |replicas| replicas == 1);
    app.await_serving(1);
    traffic.assert_all_ok();
    app.await_event("ScaledDown");
    note(format!(
        "scaled from 1 to {steady} replicas and back to 1: {} requests, all answered",
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
    busy.await_steady(3..=5);
    assert_eq!(calm.await_steady(1..=1), 1);
    let (busy_load, calm_load) = (
        busy.view()["stable"].as_f64().unwrap(),
        calm.view()["stable"].as_f64().unwrap(),
    );
    // The average of a pod that is younger than the window covers only the part of the window in which the pod existed.
    // This raises the workloads' averages, so the upper bounds are above the numbers of clients (28 and 3).
    assert!((20.0..=30.0).contains(&busy_load), "{busy_load}");
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
    // Of 50 clients, 35 (70 %) send to the old revision, and 15 (30 %) to the new revision.
    let (to_old, to_new) = (old.traffic(35), new.traffic(15));
    to_old.set(35);
    to_new.set(15);
    let (many, few) = (old.await_steady(4..=6), new.await_steady(2..=3));
    to_old.assert_all_ok();
    to_new.assert_all_ok();
    note(format!(
        "50 clients, 70 % on the old revision and 30 % on the new one: {many} and {few} replicas"
    ));
}

/// Two of about five pods answer long requests. When the short requests end, exactly the pods without long requests
/// must be removed.
fn pods_in_use_stay() {
    let world = shared();
    let app = world.app("in-use", "web", 1, &[FAST, TEN]);
    let short = app.traffic(FIVE);
    short.set(FIVE);
    let most = app.await_steady(4..=6);
    app.await_serving(most as usize);
    let endpoints = world.kubelet.endpoints("in-use", "web");
    let serving = endpoints();
    let chosen = vec![serving[0], serving[2]];
    let long = {
        let chosen = chosen.clone();
        Traffic::new(move || chosen.clone(), LONG, LONG_REQUEST)
    };
    long.set(LONG);
    eventually("the long requests are in flight", SOON, || {
        (app.view()["in_flight"].as_u64() >= Some((FIVE + LONG) as u64 * 3 / 4)).then_some(())
    });
    short.set(0);
    let begun = Instant::now();
    eventually("the others gone", SOON, || {
        let left = endpoints();
        assert!(
            chosen.iter().all(|address| left.contains(address)),
            "{left:?} left, {chosen:?} in use"
        );
        (left.len() == 2).then_some(())
    });
    assert!(
        long.outcome().answered == 0,
        "the long requests ended within {:?}, before the pods were checked",
        begun.elapsed()
    );
    long.set(0);
    long.await_all_answered();
    short.assert_all_ok();
    long.assert_all_ok();
    note(format!(
        "the scale-down removed only idle pods: {} long requests on 2 of {most} pods, none aborted",
        long.outcome().answered,
    ));
}
