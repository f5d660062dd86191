//! An API server that is unreachable for some time.

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::SOON;
use ebb_fixtures::{Case, full, note};

use crate::world::{FAST, FIVE, NODES, TEN, World};

pub(crate) const CASES: &[Case] = &[Case::new(
    "outage::the_api_server_is_away_and_comes_back",
    NODES,
    away_and_back,
)];

/// Duration of the outage without `EBB_TEST_FULL`: more than twice the lease duration and twice the window (6 s each).
const SHORT: Duration = Duration::from_secs(15);
/// The promised duration of an outage, with `EBB_TEST_FULL`.
const LONG: Duration = Duration::from_secs(60);

fn away_and_back() {
    let world = World::with(&["first"], &["--lease-duration", "6s"]);
    let away = if full() { LONG } else { SHORT };
    let app = world.app("outage", "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(FIVE);
    traffic.set(FIVE);
    let before = app.await_steady(4..=6);
    app.await_serving(before as usize);
    let served = world.kubelet.endpoints("outage", "web")();
    let pid = world.replica().pid();
    world.cluster.go_away();
    let gone = Instant::now();
    while gone.elapsed() < away {
        let (status, _) = world.replica().get("/healthz").expect("it answers");
        assert_eq!(
            status, 200,
            "an outage of the API server must not make the autoscaler unhealthy"
        );
        assert_eq!(
            world.replica().get("/readyz").map(|(status, _)| status),
            Some(200),
            "the autoscaler must stay ready, because agents still report"
        );
        for agent in &world.agents {
            let status = agent.get("/healthz").map(|(status, _)| status);
            assert!(status.is_none_or(|status| status == 200), "{status:?}");
        }
        thread::sleep(Duration::from_millis(500));
    }
    assert!(
        !world.replica().is_leading(),
        "the autoscaler must stop leading when it cannot renew its lease"
    );
    world.cluster.come_up();
    world.replica().await_leading();
    // The test observes the replicas for 10 s: a window of 6 s + two decision intervals of 2 s each.
    app.assert_within(before - 1..=before + 1, Duration::from_secs(10));
    assert_eq!(world.replica().pid(), pid);
    if app.replicas() == before {
        let serving = world.kubelet.endpoints("outage", "web")();
        assert_eq!(serving, served, "no pod was restarted");
    }
    traffic.assert_all_ok();
    traffic.set(0);
    app.await_replicas(SOON, |replicas| replicas == 1);
    note(format!(
        "API server unreachable for {away:?}: {before} replicas before, at most 1 more or fewer afterwards"
    ));
}
