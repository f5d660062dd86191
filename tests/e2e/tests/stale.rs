//! A node whose agent stops reporting.

use std::time::Duration;

use ebb_e2e::SOON;
use ebb_fixtures::{Case, eventually, full, note};

use crate::world::{FAST, FIVE, NODES, TEN, World};

pub(crate) const CASES: &[Case] = &[Case::new(
    "stale::a_node_under_load_never_shrinks_a_workload",
    NODES,
    never_shrinks,
)];

/// How long the agent sends no reports, without `EBB_TEST_FULL`: more than twice the window, so that the window
/// contains no earlier value.
const SHORT: Duration = Duration::from_secs(15);
/// How long the agent sends no reports, with `EBB_TEST_FULL`: five minutes, as `docs/kubernetes.md` says.
const LONG: Duration = Duration::from_secs(300);

fn never_shrinks() {
    let world = World::new(&["first"]);
    let silence = if full() { LONG } else { SHORT };
    let app = world.app("stale", "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(FIVE);
    traffic.set(FIVE);
    let most = app.await_steady(4..=6);
    app.await_serving(most as usize);
    let pods = |node: &str| {
        let pods = world.kubelet.pods();
        pods.iter()
            .filter(|pod| pod.node == node && pod.namespace == "stale")
            .count()
    };
    let agent = world
        .agents
        .iter()
        .max_by_key(|agent| pods(agent.node()))
        .expect("an agent");
    let unheard = pods(agent.node()) as u64;
    agent.silence();
    eventually("the metrics of the node are stale", SOON, || {
        (app.view()["pods_without_metrics"].as_u64() >= Some(unheard)).then_some(())
    });
    // The workload may grow, but must not shrink.
    app.assert_within(most..=u64::MAX, silence);
    let during = app.replicas();
    agent.restart();
    eventually("all pods have current metrics", SOON, || {
        (app.view()["pods_without_metrics"] == 0).then_some(())
    });
    // After the agent's restart, the load ends, and the workload is scaled down.
    traffic.set(0);
    app.await_replicas(SOON, |replicas| replicas == 1);
    traffic.assert_all_ok();
    note(format!(
        "under load, a node with {unheard} of {most} pods sent no reports for {silence:?}: the workload kept {during} \
         replicas"
    ));
}
