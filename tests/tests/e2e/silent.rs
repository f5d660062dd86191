//! A node that falls silent.

use std::thread;
use std::time::Duration;

use ebb_tests::cluster::SOON;
use ebb_tests::cluster::agent::Agent;
use ebb_tests::harness::{Case, eventually, full, note};

use crate::world::{FAST, TEN, World};

pub(crate) const CASES: &[Case] = &[Case::new(
    "silent::a_node_under_load_never_shrinks_a_workload",
    &[],
    never_shrinks,
)];

fn never_shrinks() {
    let mut world = World::new(&["first"]);
    let silence = Duration::from_secs(if full() { 300 } else { 25 });
    let most = {
        let app = world.app("silent", "web", 1, &[FAST, TEN]);
        let traffic = app.traffic(35);
        traffic.set(35);
        app.await_replicas(SOON, |replicas| (4..=6).contains(&replicas));
        thread::sleep(Duration::from_secs(10));
        let most = app.replicas();
        app.await_serving(most as usize);
        // Kept for what follows.
        std::mem::forget(app);
        std::mem::forget(traffic);
        most
    };
    world.agents[1].silence();
    thread::sleep(Duration::from_secs(5));
    let view = world.replica().workload("silent", "web");
    assert!(view["silent_pods"].as_u64() >= Some(1), "{view}");
    let until = std::time::Instant::now() + silence;
    while std::time::Instant::now() < until {
        let replicas = world
            .api()
            .get("/apis/apps/v1/namespaces/silent/deployments/web")
            .unwrap()["spec"]["replicas"]
            .as_u64();
        assert!(
            replicas >= Some(most),
            "{replicas:?} after {most}: {}",
            world.replica().workload("silent", "web")
        );
        thread::sleep(Duration::from_millis(200));
    }
    // The node is back: it goes on.
    world.agents.remove(1);
    let node = world.kubelet.nodes()[1].clone();
    let agent = Agent::start(world.api(), &world.kubelet, &node, &[world.replica()]);
    world.agents.push(agent);
    eventually("nobody silent", SOON, || {
        (world.replica().workload("silent", "web")["silent_pods"] == 0).then_some(())
    });
    note(format!(
        "a node silent for {silence:?} under load: {most} pods kept"
    ));
}
