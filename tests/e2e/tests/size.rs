//! CPU and memory use of the autoscaler in a large cluster.
//!
//! With `EBB_TEST_FULL=1`: 5 000 agents with 30 pods each, 10 000 workloads, and one report per second from each agent.
//! Otherwise a twentieth of the agents and workloads. The API server is a test double, and the agents are connections
//! of the test process, so the test measures only the autoscaler's process.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ebb_contract::{Pod, Report};
use ebb_e2e::agent::agent_token;
use ebb_e2e::report::{Line, trust};
use ebb_e2e::{Autoscaler, Cluster, block_on, opted_in};
use ebb_fixtures::{Case, eventually, full, note};
use serde_json::{Value, json};
use tokio::time;

use crate::cost;

pub(crate) const CASES: &[Case] = &[Case::new("size::a_large_cluster", &[], large_cluster)];

const PODS_ON_A_NODE: usize = 30;
const SECOND: Duration = Duration::from_secs(1);
/// Time limit until all agents report, long because thousands of connections open slowly on a loaded machine.
const READY_WITHIN: Duration = Duration::from_secs(300);

fn large_cluster() {
    let (nodes, workloads) = if full() { (5_000, 10_000) } else { (250, 500) };
    let cluster = Cluster::large(objects(nodes, workloads));
    let replica = Autoscaler::launch(&cluster, "large", &[]);
    eventually("ready", READY_WITHIN, || {
        (replica.get("/readyz")?.0 == 200).then_some(())
    });
    replica.await_leading();
    let sent = Arc::new(AtomicU64::new(0));
    let mut on_node: HashMap<String, Vec<String>> = HashMap::new();
    for pod in cluster.api().list("/api/v1/namespaces/large/pods") {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        on_node
            .entry(text(&pod["spec"]["nodeName"]))
            .or_default()
            .push(text(&pod["metadata"]["uid"]));
    }
    assert!(on_node.len() == nodes && on_node.values().all(|pods| pods.len() == PODS_ON_A_NODE));
    let trust = trust(cluster.api());
    let port = replica.report_port();
    let agents: Vec<_> = (0..nodes)
        .map(|number| {
            let node = format!("node-{number}");
            let token = agent_token(cluster.api(), &node);
            let (trust, sent) = (Arc::clone(&trust), Arc::clone(&sent));
            let uids = on_node.remove(&node).unwrap();
            #[allow(
                clippy::async_yields_async,
                reason = "the handle of the spawned task is kept, and the task is not awaited"
            )]
            let task = block_on(async {
                tokio::spawn(agent(number, node, token, uids, trust, port, sent))
            });
            task
        })
        .collect();
    eventually("all agents reporting", READY_WITHIN, || {
        let before = sent.load(Ordering::Relaxed);
        thread::sleep(SECOND);
        (sent.load(Ordering::Relaxed) - before >= nodes as u64 * 9 / 10).then_some(())
    });
    // Waits until the averaging windows are full and all connections are established.
    thread::sleep(Duration::from_secs(if full() { 70 } else { 10 }));
    let (cpu, reports, begun, buckets) = (
        cost::cpu(replica.pid()),
        sent.load(Ordering::Relaxed),
        Instant::now(),
        ingest(&replica),
    );
    thread::sleep(Duration::from_secs(if full() { 60 } else { 10 }));
    let seconds = begun.elapsed().as_secs_f64();
    let share = (cost::cpu(replica.pid()) - cpu) / seconds;
    let rate = (sent.load(Ordering::Relaxed) - reports) as f64 / seconds;
    let memory = cost::resident(replica.pid());
    let p99 = percentile(&buckets, &ingest(&replica), 0.99);
    let views = replica.workloads();
    assert_eq!(views.len(), workloads);
    let decided = views
        .iter()
        .filter(|view| view["desired_replicas"].is_u64())
        .count();
    assert_eq!(
        decided, workloads,
        "the autoscaler has decided for all workloads"
    );
    note(format!(
        "autoscaler with {workloads} workloads and {nodes} agents of {PODS_ON_A_NODE} pods, {rate:.0} reports/s: \
         {:.0} % of a core, {memory:.0} MiB; 99 % of the reports are processed, with their decisions, within {:.1} ms",
        share * 100.0,
        p99 * 1e3,
    ));
    for agent in agents {
        agent.abort();
    }
}

/// Returns nodes, and Deployments in recommend mode with their ReplicaSets and ready pods.
pub(crate) fn objects(nodes: usize, workloads: usize) -> Vec<Value> {
    let named = |api: &str, kind: &str, name: String| json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "large"}});
    let mut objects = Vec::new();
    for node in 0..nodes {
        objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{node}")}}));
    }
    let pods = nodes * PODS_ON_A_NODE / workloads;
    let annotations = opted_in(&[("ebb.dev/mode", "recommend")]);
    // The double assigns uids in the order of creation, so an object's uid is known before the object is created.
    let uid = |number: usize| format!("00000000-0000-4000-8000-{number:012x}");
    let reference = |api: &str, kind: &str, name: &str, uid: String| json!([{"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": true}]);
    for workload in 0..workloads {
        let name = format!("web-{workload}");
        let mut deployment = named("apps/v1", "Deployment", name.clone());
        deployment["spec"] =
            json!({"replicas": pods, "template": {"metadata": {"annotations": annotations}}});
        objects.push(deployment);
        let owner = reference("apps/v1", "Deployment", &name, uid(objects.len()));
        let set_name = format!("{name}-1");
        let mut set = named("apps/v1", "ReplicaSet", set_name.clone());
        set["metadata"]["ownerReferences"] = owner;
        objects.push(set);
        let owner = reference("apps/v1", "ReplicaSet", &set_name, uid(objects.len()));
        for number in 0..pods {
            // Pods with consecutive numbers are on different nodes.
            let node = (workload * pods + number) % nodes;
            let mut pod = named("v1", "Pod", format!("{set_name}-{number:04}"));
            pod["metadata"]["ownerReferences"] = owner.clone();
            pod["metadata"]["annotations"] = annotations.clone();
            pod["spec"] = json!({"nodeName": format!("node-{node}"), "containers": [{"name": "app", "image": "x"}]});
            pod["status"] =
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
            objects.push(pod);
        }
    }
    objects
}

async fn agent(
    number: usize,
    node: String,
    token: String,
    uids: Vec<String>,
    trust: Arc<tokio_rustls::rustls::ClientConfig>,
    port: u16,
    sent: Arc<AtomicU64>,
) {
    let from = IpAddr::V4(Ipv4Addr::from(
        u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number as u32,
    ));
    let start = Instant::now();
    let mut line = None;
    // The starts of the agents are spread over one second.
    time::sleep(SECOND * (number as u32 % 1000) / 1000).await;
    let mut tick = time::interval(SECOND);
    let mut report = Report {
        node: node.into(),
        boot: "b".into(),
        pods: uids
            .into_iter()
            .map(|uid| Pod {
                uid: uid.into(),
                since: 1,
                status: [0, 1_000, 0, 10, 0],
                ..Pod::default()
            })
            .collect(),
        ..Report::default()
    };
    loop {
        tick.tick().await;
        let now = 1 + start.elapsed().as_nanos() as u64;
        for (index, pod) in report.pods.iter_mut().enumerate() {
            let load = (number + index) as u64 % 20;
            pod.at = now;
            pod.integral = now.wrapping_mul(load);
            pod.in_flight = load;
            pod.started = now / 1_000_000 * load;
            pod.completed = pod.started;
            pod.connections = load;
        }
        let mut open = match line.take() {
            Some(line) => line,
            None => match Line::connect(Arc::clone(&trust), from, port).await {
                Ok(line) => line,
                Err(_) => continue,
            },
        };
        if open.report(&token, &report).await.is_ok() {
            sent.fetch_add(1, Ordering::Relaxed);
            line = Some(open);
        }
    }
}

/// Returns the histogram of report ingest times: the upper bound of each bucket in seconds, and its cumulative count.
fn ingest(replica: &Autoscaler) -> Vec<(f64, f64)> {
    let (_, text) = replica.get("/metrics").unwrap();
    text.lines()
        .filter_map(|line| {
            let (bound, count) = line
                .strip_prefix("ebb_autoscaler_report_ingest_seconds_bucket{le=\"")?
                .split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
        })
        .collect()
}

/// Returns a percentile of the reports between two readings of the histogram: the upper bound of the bucket that
/// contains it. `share`: for example 0.99.
fn percentile(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> f64 {
    let counts: Vec<_> = before
        .iter()
        .zip(after)
        .map(|(before, after)| (after.0, after.1 - before.1))
        .collect();
    let all = counts.last().map_or(0.0, |(_, count)| *count);
    counts
        .iter()
        .find(|(_, count)| *count >= share * all)
        .map_or(f64::NAN, |(bound, _)| *bound)
}
