//! Leader election: only one autoscaler replica scales workloads.

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::SOON;
use ebb_fixtures::{Case, Signal, eventually, note};

use crate::world::{FAST, FIVE, NODES, TEN, World};

pub(crate) const CASES: &[Case] = &[
    Case::beside("leader::killed_under_load", NODES, killed_under_load),
    Case::beside("leader::ends_in_order", NODES, ends_in_order),
];

/// The lease duration, short because the test waits until the lease expires.
const LEASE: Duration = Duration::from_secs(6);

fn killed_under_load() {
    let world = World::with(&["first", "second"], &["--lease-duration", "6s"]);
    let app = world.app("killed", "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(FIVE);
    traffic.set(FIVE);
    let before = app.await_steady(4..=6);
    let standby = &world.replicas[1];
    assert!(!standby.is_leading());
    world.replicas[0].signal(Signal::SIGKILL);
    let killed = Instant::now();
    let desired = standby.workload("killed", "web")["desired_replicas"]
        .as_u64()
        .unwrap();
    assert!(
        desired.abs_diff(before) <= 1,
        "the standby's averaging window must be full: it desires {desired} replicas, the leader desired {before}"
    );
    while !standby.is_leading() {
        assert!(
            app.replicas() >= before,
            "the workload was scaled down while no replica was the leader"
        );
        // The leader renews the lease, and candidates check the lease, at intervals of 2/15 of the lease duration. So a
        // candidate must lead before 3/2 of the lease duration are over.
        assert!(
            killed.elapsed() < LEASE * 3 / 2,
            "no replica is the leader after {:?}",
            killed.elapsed()
        );
        thread::sleep(Duration::from_millis(50));
    }
    let took = killed.elapsed();
    app.assert_within(before - 1..=before + 1, Duration::from_secs(6));
    // The load ends, and the new leader must scale the workload down.
    traffic.set(0);
    app.await_replicas(SOON, |replicas| replicas == 1);
    traffic.assert_all_ok();
    note(format!(
        "leader killed: the standby leads after {took:?} (lease duration {LEASE:?}); desired replicas {before} \
         before, {desired} after"
    ));
}

fn ends_in_order() {
    let mut world = World::with(&["first", "second"], &["--lease-duration", "30s"]);
    world.replicas.remove(0).finish();
    // The standby leads long before the lease of 30 s expires, because the leader has released the lease.
    eventually("the standby leads", Duration::from_secs(15), || {
        world.replicas[0].is_leading().then_some(())
    });
}
