//! An API server that is away.

use std::thread;
use std::time::{Duration, Instant};

use ebb_tests::cluster::SOON;
use ebb_tests::harness::{Case, eventually, full, note};

use crate::world::{FAST, TEN, World};

pub(crate) const CASES: &[Case] = &[Case::new(
    "outage::the_api_server_is_away_and_comes_back",
    &[],
    away_and_back,
)];

fn away_and_back() {
    let mut world = World::with(&["first"], &["--lease-duration", "6s"]);
    let away = Duration::from_secs(if full() { 60 } else { 20 });
    let (before, traffic) = {
        let app = world.app("outage", "web", 1, &[FAST, TEN]);
        let traffic = app.traffic(35);
        traffic.set(35);
        app.await_replicas(SOON, |replicas| (4..=6).contains(&replicas));
        thread::sleep(Duration::from_secs(10));
        let before = app.replicas();
        app.await_serving(before as usize);
        // Kept for what follows.
        std::mem::forget(app);
        (before, traffic)
    };
    let pid = world.replica().pid();
    world.cluster.go_away();
    let gone = Instant::now();
    while gone.elapsed() < away {
        let (status, _) = world.replica().get("/healthz").expect("it answers");
        assert_eq!(status, 200, "no reason to be restarted");
        assert_eq!(
            world.replica().get("/readyz").map(|(status, _)| status),
            Some(200),
            "agents go on reporting"
        );
        thread::sleep(Duration::from_millis(500));
    }
    assert!(!world.replica().is_leading(), "it stepped down in time");
    world.cluster.come_up();
    world.replica().await_leading();
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        let replicas = world
            .api()
            .get("/apis/apps/v1/namespaces/outage/deployments/web")
            .unwrap()["spec"]["replicas"]
            .as_u64();
        assert!(
            replicas.is_some_and(|replicas| replicas.abs_diff(before) <= 1),
            "{replicas:?} after {before}"
        );
        thread::sleep(Duration::from_millis(200));
    }
    traffic.assert_all_ok();
    traffic.set(0);
    eventually("scaled down", SOON, || {
        let object = world
            .api()
            .get("/apis/apps/v1/namespaces/outage/deployments/web")
            .ok()?;
        (object["spec"]["replicas"] == 1).then_some(())
    });
    assert_eq!(world.replica().pid(), pid);
    note(format!(
        "API server away for {away:?}: {before} pods before and after"
    ));
}
