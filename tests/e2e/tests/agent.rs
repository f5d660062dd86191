//! The CPU and memory that an agent uses on its node.

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::agent::Agent;
use ebb_e2e::{Autoscaler, Cluster, Kubelet, deployment, opted_in};
use ebb_fixtures::{Case, Need, eventually, full, note};

use crate::cost;
use crate::world::FAST;

pub(crate) const CASES: &[Case] = &[Case::new(
    "agent::costs_next_to_nothing_with_110_pods",
    &[Need::Kernel],
    with_110_pods,
)];

/// Number of pods on the node: the kubelet's default limit.
const PODS: u32 = 110;
/// The promised maximum CPU use of an idle agent, as a share of one core.
const SHARE: f64 = 0.01;
/// The promised maximum of the agent's anonymous memory, MiB. The printed note also contains the whole resident memory.
const MEMORY: f64 = 20.0;
/// Time limit until all pods are counted, long because 110 processes start slowly on a loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

fn with_110_pods() {
    let cluster = Cluster::double();
    let kubelet = Kubelet::start(cluster.api(), &["node-a"]);
    let replica = Autoscaler::start(&cluster, "first", &[]);
    let agent = Agent::start(&cluster, &kubelet, "node-a", &[&replica]);
    cluster.namespace("many");
    // The workload is in recommend mode, so that the autoscaler does not scale down the idle pods.
    let annotations = opted_in(&[FAST, ("ebb.dev/mode", "recommend")]);
    cluster
        .api()
        .apply(&deployment("many", "web", PODS, &annotations));
    eventually("all counted", READY_WITHIN, || {
        let (_, metrics) = agent.get("/metrics")?;
        let counted = format!("ebb_agent_pods{{state=\"counted\"}} {PODS}");
        metrics.lines().any(|line| line == counted).then_some(())
    });
    eventually("all reported", READY_WITHIN, || {
        (replica.workload("many", "web")["ready_replicas"] == PODS).then_some(())
    });
    let pid = agent.pid().expect("a real agent");
    let (cpu, begun) = (cost::cpu(pid), Instant::now());
    thread::sleep(Duration::from_secs(if full() { 60 } else { 10 }));
    let share = (cost::cpu(pid) - cpu) / begun.elapsed().as_secs_f64();
    let (own, resident) = (cost::own(pid), cost::resident(pid));
    note(format!(
        "idle agent with {PODS} pods: {:.2} % of a core, {own:.1} MiB anonymous memory, \
         {resident:.1} MiB resident memory",
        share * 100.0
    ));
    assert!(own < MEMORY, "{own} MiB");
    assert!(share < SHARE, "{share} of a core");
    cluster
        .api()
        .delete("/apis/apps/v1/namespaces/many/deployments/web")
        .unwrap();
}
