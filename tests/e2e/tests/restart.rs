//! Agents that are killed and restarted under load.

use std::thread;
use std::time::Duration;

use ebb_e2e::SOON;
use ebb_fixtures::{Case, Need, eventually, note};

use crate::world::{FAST, TEN, World};

pub(crate) const CASES: &[Case] = &[Case::beside(
    "restart::an_agent_killed_under_load_loses_nothing",
    &[Need::Kernel, Need::Mounts],
    loses_nothing,
)];

/// Number of restarts of each agent, 0.7 s apart or more.
const RESTARTS: usize = 3;

/// Checks that the agents' counts finally equal the servers' own counts.
fn loses_nothing() {
    let world = World::new(&["first"]);
    let app = world.app(
        "restart",
        "web",
        4,
        &[
            FAST,
            TEN,
            ("autoscaling.knative.dev/min-scale", "4"),
            ("autoscaling.knative.dev/max-scale", "4"),
        ],
    );
    eventually("all counted", SOON, || {
        (app.view()["ready_replicas"] == 4 && app.view()["pods_without_metrics"] == 0).then_some(())
    });
    let traffic = app.traffic(20);
    traffic.set(20);
    for _ in 0..RESTARTS {
        for agent in &world.agents {
            thread::sleep(Duration::from_millis(700));
            agent.restart();
        }
        eventually("all report again", SOON, || {
            (app.view()["pods_without_metrics"] == 0).then_some(())
        });
    }
    traffic.set(0);
    traffic.await_all_answered();
    traffic.assert_all_ok();
    let answered = traffic.outcome().answered;
    let pods: Vec<_> = world
        .kubelet
        .pods()
        .into_iter()
        .filter(|pod| pod.namespace == "restart")
        .map(|pod| (pod.name.clone(), pod.requests()))
        .collect();
    let served: u64 = pods.iter().map(|(_, requests)| requests).sum();
    assert_eq!(
        served, answered,
        "the servers' counts must equal the number of answers at the clients"
    );
    for (name, requests) in &pods {
        // The test has sent one request to query the server's own count. The agent counts this request, but the server
        // does not.
        let expected = requests + 1;
        let label = format!("pod=\"{name}\"");
        eventually(&format!("{expected} requests of {name}"), SOON, || {
            let counted = world.agents.iter().find_map(|agent| {
                let (_, text) = agent.get("/metrics")?;
                let line = text.lines().find(|line| {
                    line.starts_with("ebb_pod_requests_total{") && line.contains(&label)
                })?;
                line.rsplit(' ').next()?.parse::<f64>().ok()
            })?;
            assert!(
                counted <= expected as f64,
                "{counted} counted of {expected}"
            );
            (counted == expected as f64).then_some(())
        });
    }
    note(format!(
        "agents killed {} times under load: each of {answered} requests was counted once",
        RESTARTS * world.agents.len()
    ));
}
