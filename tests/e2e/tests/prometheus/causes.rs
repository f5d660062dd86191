//! The test causes each alert's condition, and each alert fires in a real Prometheus that scrapes the real programs.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, MapData};
use ebb_abi::PodCounters;
use ebb_contract::{Pod, Report};
use ebb_e2e::agent::{Agent, agent_token};
use ebb_e2e::report::{Line, trust};
use ebb_e2e::{Autoscaler, Cluster, SOON, block_on, deployment, opted_in};
use ebb_fixtures::{Signal, Wire, free_port, note};
use tokio::net::TcpSocket;

use super::proxied_port::ProxiedPort;
use super::rules;
use super::server::{Prometheus, jobs};
use crate::unavailable::OLD;
use crate::world::{App, FAST, FIVE, TEN, World};

const NAMESPACE: &str = "alerts";
/// The pause between two attempts to cause an alert: the interval of Prometheus' scrapes and evaluations.
const AGAIN: Duration = Duration::from_secs(1);
/// The duration of a cold start that is too slow: above the threshold of the alert.
const SLOW: Duration = Duration::from_secs(12);
/// The number of connections that the agent cannot read: above the threshold of the alert.
const UNREADABLE: usize = 20;
/// Number of connections: more than the report port allows to one unauthenticated client.
const CROWD: usize = 200;
/// Number of pod slots to search. In this small cluster, no pod has a higher slot.
const SLOTS: u32 = 64;

/// The alerts that have fired, and the Prometheus that evaluates them.
struct Fired<'a> {
    prometheus: &'a Prometheus,
    by_cause: BTreeSet<&'static str>,
}

impl Fired<'_> {
    /// Repeats `cause` until these alerts have fired.
    #[track_caller]
    fn by(&mut self, alerts: &[&'static str], mut cause: impl FnMut()) {
        for alert in alerts {
            let begun = Instant::now();
            while !self.prometheus.fired(alert) {
                assert!(begun.elapsed() < SOON, "{alert} does not fire");
                cause();
                thread::sleep(AGAIN);
            }
            self.by_cause.insert(alert);
        }
    }

    /// Waits until these alerts have fired; their causes exist already.
    #[track_caller]
    fn wait(&mut self, alerts: &[&'static str]) {
        self.by(alerts, || ());
    }
}

pub(super) fn alerts() {
    let world = World::with(&["first"], &["--lease-duration", "6s"]);
    // The agent `torn` reports to the autoscaler of this cluster and to `other`, which leads in another cluster. So two
    // autoscalers claim to be the leader, and an alert must fire.
    let elsewhere = Cluster::double();
    let other = Autoscaler::start(&elsewhere, "other", &[]);
    let both = [world.replica(), &other];
    let node = |wrapper: &[&str], name: &str, replicas: &[&Autoscaler]| {
        Agent::start_by(wrapper, &world.cluster, &world.kubelet, name, replicas)
    };
    let torn = node(&[], "node-torn", &both);
    let old = node(&OLD, "node-old", &both[..1]);
    let folder = tempfile::tempdir().unwrap();
    let away = format!("KUBECONFIG={}", nobody_answers(folder.path()).display());
    let blind = node(&["env", &away], "node-blind", &both[..1]);
    let mut port = ProxiedPort::new(NAMESPACE, &["--max-queued", "2", "--max-wait", "10m"]);
    let agents = world.agents.iter().chain([&torn, &old, &blind]);
    let prometheus = Prometheus::start(&jobs(agents, both, &port), &rules::at_once());
    let mut fired = Fired {
        prometheus: &prometheus,
        by_cause: BTreeSet::new(),
    };

    let waiting = [port.ask(), port.ask()];
    let held = Instant::now();
    fired.wait(&["EbbTwoLeaders", "EbbNodeNotCounting", "EbbAgentNotSynced"]);
    other.finish();
    fired.wait(&["EbbTargetDown", "EbbReportsLost", "EbbRequestsNotServed"]);
    fired.by(&["EbbRequestsRefused"], || {
        assert_eq!(port.ask().response(), 503);
    });

    let wrong = world.deploy(NAMESPACE, "wrong", 1, &[("ebb.dev/ports", "http")]);
    pending(&world);
    fired.wait(&[
        "EbbWorkloadNotScaled",
        "EbbPodsNotCounted",
        "EbbWorkloadStuck",
    ]);
    drop(wrong);

    by_reports(&world, &mut fired);
    by_pods(&world, &mut fired);

    thread::sleep(SLOW.saturating_sub(held.elapsed()));
    port.serve();
    for mut wire in waiting {
        assert_eq!(wire.response(), 200);
    }
    fired.wait(&["EbbColdStartsSlow"]);

    by_an_outage(&world, &mut fired);
    world.replica().signal(Signal::SIGKILL);
    fired.wait(&["EbbAutoscalerGone"]);

    let all = rules::alerts();
    let by_cause: BTreeSet<_> = fired.by_cause.iter().map(ToString::to_string).collect();
    assert_eq!(
        by_cause, all,
        "the test must cause every alert of the rule file"
    );
    note(format!(
        "alerts that fired in a real Prometheus: {}",
        all.len()
    ));
}

/// Writes a kubeconfig with the address of a port on which nothing listens. Returns its path.
fn nobody_answers(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("kubeconfig");
    let server = format!(
        "http://{}",
        SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
    );
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    // The file is written as JSON, which is valid YAML.
    fs::write(&path, config.to_string()).unwrap();
    path
}

/// Creates a workload whose pod is bound to a node without a kubelet, so that the pod stays pending.
fn pending(world: &World) {
    let mut object = deployment(NAMESPACE, "stuck", 1, &opted_in(&[FAST, TEN]));
    object["spec"]["template"]["spec"]["nodeName"] = "node-nowhere".into();
    world.api().apply(&object);
}

/// Creates the conditions of the alerts about reports, and waits until these alerts fire.
fn by_reports(world: &World, fired: &mut Fired<'_>) {
    let (trust, port) = (trust(world.api()), world.replica().report_port());
    let post = |token: &str, body: Vec<u8>| {
        block_on(async {
            let from = [127, 0, 0, 2].into();
            let mut line = Line::connect(trust.clone(), from, port).await.unwrap();
            let (status, _) = line.post(Some(token), body).await.unwrap();
            status.as_u16()
        })
    };
    fired.by(&["EbbReportsRejected"], || {
        assert_eq!(post("nonsense", b"{}".to_vec()), 401);
    });
    // The same report is sent repeatedly. Its time `at` does not advance, so the report is late.
    let pod = Pod {
        uid: "nobody".into(),
        since: 1,
        at: 2,
        ..Pod::default()
    };
    let late = serde_json::to_vec(&Report {
        node: "node-late".into(),
        boot: "b".into(),
        pods: vec![pod],
        ..Report::default()
    });
    let (late, token) = (late.unwrap(), agent_token(world.api(), "node-late"));
    fired.by(&["EbbReportsLate"], || {
        assert_eq!(post(&token, late.clone()), 200);
    });
    let mut crowd = Vec::new();
    fired.by(&["EbbReportConnectionsRejected"], || {
        let more = (0..CROWD).filter_map(|_| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 0, 3], 0).into()).unwrap();
            block_on(socket.connect(([127, 0, 0, 1], port).into())).ok()
        });
        crowd.extend(more);
    });
}

/// Creates the conditions of the alerts about pods and about the nodes of these pods, and waits until these alerts
/// fire.
fn by_pods(world: &World, fired: &mut Fired<'_>) {
    let narrow = ("autoscaling.knative.dev/max-scale", "1");
    let app = world.app(NAMESPACE, "narrow", 1, &[FAST, TEN, narrow]);
    let traffic = app.traffic(FIVE);
    traffic.set(FIVE);
    fired.wait(&["EbbWorkloadOverloaded", "EbbWorkloadPanicMode"]);
    traffic.set(0);
    traffic.await_all_answered();

    let agent = agent_of(world, &app, "narrow");
    spoil(agent, fired);
    let address = *world.kubelet.endpoints(NAMESPACE, "narrow")()
        .first()
        .unwrap();
    let unreadable: Vec<Wire> = (0..UNREADABLE)
        .map(|_| {
            let mut wire = Wire::connect(address);
            // The length is no number, so the eBPF programs cannot read the connection. The server keeps the connection
            // open, because the head is not complete.
            wire.send("GET / HTTP/1.1\r\nContent-Length: x\r\n");
            wire
        })
        .collect();
    fired.wait(&["EbbWorkloadOpaque", "EbbConnectionsUnreadable"]);
    drop(unreadable);

    agent.silence();
    fired.wait(&["EbbMetricsStale", "EbbManyAgentsStale"]);
    agent.wake();
}

/// Returns the agent on the node of an app's only pod.
fn agent_of<'a>(world: &'a World, app: &App<'_>, name: &str) -> &'a Agent {
    app.await_serving(1);
    let pods = world.kubelet.pods();
    let pod = pods.iter().find(|pod| pod.app == name).expect("its pod");
    let mut agents = world.agents.iter();
    agents
        .find(|agent| agent.node() == pod.node)
        .expect("an agent")
}

/// Makes the counters of pods inconsistent until the alert fires, as if a CPU had stopped in the middle of an update:
/// the start of the update is recorded, but not its end.
fn spoil(agent: &Agent, fired: &mut Fired<'_>) {
    let pins = agent.pins().expect("a bpffs");
    let layout = fs::read_dir(pins).unwrap().flatten();
    let map = layout
        .map(|entry| entry.path().join("maps/PODS"))
        .find(|path| path.exists())
        .expect("the counters");
    let mut pods: Array<_, PodCounters> =
        aya::maps::Map::from_map_data(MapData::from_pin(map).unwrap())
            .unwrap()
            .try_into()
            .unwrap();
    let mut add = |by: u64| {
        for slot in 0..SLOTS {
            let mut counters = pods.get(&slot, 0).unwrap();
            if counters.opened != 0 {
                counters.started = counters.started.wrapping_add(by);
                pods.set(slot, counters, 0).unwrap();
            }
        }
    };
    add(1);
    fired.wait(&["EbbReadingsFailed"]);
    add(u64::MAX);
}

/// Creates the conditions of the alerts about an unreachable API server, and waits until these alerts fire.
fn by_an_outage(world: &World, fired: &mut Fired<'_>) {
    let app = world.app(NAMESPACE, "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(FIVE);
    world.cluster.go_away();
    traffic.set(FIVE);
    fired.wait(&["EbbScaleWritesFail", "EbbNoLeader"]);
    world.cluster.come_up();
    world.replica().await_leading();
}
