//! Simulated nodes: their pods are API objects without processes, and their agents report the concurrency that a test
//! sets.
//!
//! Simulated nodes allow more pods than a machine can run as processes. A pod bound to one of these nodes is reported
//! as running and ready immediately; a deleted pod is removed immediately. The concurrency of an app is spread evenly
//! over its ready pods, without jitter, so that the autoscaler's decisions are exactly predictable.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ebb_contract::{Pod as PodReport, Report};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use nix::unistd::gettid;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;
use tokio_rustls::rustls::ClientConfig;

use super::agent::agent_token;
use super::api::{Api, path};
use super::follow::{Following, follow};
use super::priority;
use super::report::{Line, trust};
use super::{Autoscaler, Cluster, SYSTEM, runtime};

/// Label of the simulated nodes. Pods that must be simulated have a `nodeSelector` with this label.
pub const LABEL: &str = "test/simulated";
/// Pod annotation: a pod with this annotation never becomes ready.
pub const NEVER_READY: &str = "test/never-ready";

/// Time between two reports, the same as the agent's.
const TICK: Duration = Duration::from_secs(1);
/// Time limit for the response to a report. After this time, the agent gives up the report and closes its connection.
const ANSWER: Duration = Duration::from_secs(3);
/// The nodes' clock at the start of the simulation, ns.
const EPOCH: u64 = 1_000_000_000_000;

/// An app: its namespace, and the value of the label `app` of its pods.
type App = (String, String);

/// Returns the Tokio runtime of the simulated agents. Its thread has priority, and runs nothing else: a busy API server
/// double must not delay the reports, because in a cluster they are on other machines.
fn agents_runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(|| priority::raise(&[gettid()]))
            .enable_all()
            .build()
            .expect("a runtime")
    });
    &RUNTIME
}

/// The running simulated nodes.
pub struct Simulated {
    shared: Arc<Shared>,
    agents: Vec<JoinHandle<()>>,
    kubelet: JoinHandle<()>,
    nodes: Vec<String>,
    _following: Following,
}

struct Shared {
    state: Mutex<State>,
    /// Whether the agents report.
    reporting: watch::Sender<bool>,
    start: Instant,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<String, SimulatedPod>,
    /// Requests in flight of each app, over all pods of the app.
    load: HashMap<App, f64>,
    /// Response times of reports.
    took: Vec<Duration>,
    /// Nodes whose agent does not report.
    silent: Vec<String>,
    /// Whether the reports of the agents are spread over a second; otherwise, all agents report at the same moment.
    is_spread: bool,
}

struct SimulatedPod {
    app: App,
    node: String,
    ready: bool,
    /// Whether agents count the pod.
    counted: bool,
    /// Time from which the agent counts the pod's requests, by the node's clock, ns.
    since: u64,
    at: u64,
    integral: f64,
    started: f64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current time by the nodes' clock, ns.
    fn now(&self) -> u64 {
        EPOCH + self.start.elapsed().as_nanos() as u64
    }
}

impl State {
    /// Returns the requests in flight of each ready pod, by app.
    fn shares(&self) -> HashMap<App, f64> {
        let mut ready: HashMap<&App, usize> = HashMap::new();
        for pod in self.pods.values().filter(|pod| pod.ready) {
            *ready.entry(&pod.app).or_default() += 1;
        }
        let share = |(app, load): (&App, &f64)| {
            let pods = *ready.get(app)?;
            Some((app.clone(), load / pods as f64))
        };
        self.load.iter().filter_map(share).collect()
    }

    /// Advances each pod's concurrency integral and its count of started requests to the time `now`. Returns the
    /// requests in flight of each ready pod, by app.
    fn advance(&mut self, now: u64) -> HashMap<App, f64> {
        let shares = self.shares();
        for pod in self.pods.values_mut() {
            let nanoseconds = now.saturating_sub(pod.at) as f64;
            let share = pod.share(&shares);
            pod.integral += share * nanoseconds;
            // Each request takes 0.2 s (2e8 ns).
            pod.started += share * nanoseconds / 2e8;
            pod.at = now;
        }
        shares
    }
}

impl SimulatedPod {
    fn share(&self, shares: &HashMap<App, f64>) -> f64 {
        let share = shares.get(&self.app).filter(|_| self.ready);
        share.copied().unwrap_or(0.0)
    }
}

impl Simulated {
    /// Registers nodes, and simulates their pods and agents. The agents report to all these autoscaler replicas after
    /// [`Self::report`] is called.
    ///
    /// # Panics
    /// If the API server refuses the request.
    #[must_use]
    pub fn start(cluster: &Cluster, nodes: &[&str], replicas: &[&Autoscaler]) -> Self {
        let this = Self::without_agents(cluster, nodes);
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.reports()).collect();
        this.with_agents(cluster, &addresses)
    }

    /// Makes the agents report one after another, evenly spread over a second. The agents of a real cluster do not all
    /// report at the same moment. Must be called before [`Self::report`].
    pub fn spread(&self) {
        self.shared.state().is_spread = true;
    }

    /// Registers nodes and simulates their pods, without agents.
    ///
    /// # Panics
    /// If the API server refuses the request.
    #[must_use]
    pub fn without_agents(cluster: &Cluster, nodes: &[&str]) -> Self {
        let api = cluster.api();
        for node in nodes {
            let labels = json!({LABEL: "true"});
            api.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}));
            let room = json!({"pods": "5000", "cpu": "640", "memory": "2560Gi"});
            let status = json!({"status": {"capacity": room, "allocatable": room}});
            let at = format!("{}/status", path("v1", "Node", "", node));
            api.merge(&at, &status)
                .unwrap_or_else(|refused| panic!("{at}: {refused:?}"));
        }
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            reporting: watch::Sender::new(false),
            start: Instant::now(),
        });
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let (to_kubelet, asked) = mpsc::unbounded_channel();
        let (kept, ours) = (Arc::clone(&shared), nodes.clone());
        let following = follow(api, move |change| seen(&kept, &ours, &to_kubelet, change));
        Self {
            kubelet: runtime().spawn(work(api.clone(), asked)),
            shared,
            agents: Vec::new(),
            nodes,
            _following: following,
        }
    }

    /// Creates the agents. The agents report to these addresses after [`Self::report`] is called.
    #[must_use]
    pub fn with_agents(mut self, cluster: &Cluster, addresses: &[SocketAddr]) -> Self {
        let trust = trust(cluster.api());
        let count = u32::try_from(self.nodes.len()).expect("a few nodes");
        for (number, node) in (0..count).zip(&self.nodes) {
            let token = agent_token(cluster.api(), node);
            for address in addresses {
                let agent = SimulatedAgent {
                    place: TICK * number / count,
                    shared: Arc::clone(&self.shared),
                    node: node.clone(),
                    token: token.clone(),
                    trust: Arc::clone(&trust),
                    address: *address,
                };
                self.agents.push(agents_runtime().spawn(agent.run()));
            }
        }
        self
    }

    /// Starts the agents' reports. At the time of this call, all counts are 0.
    pub fn report(&self) {
        let now = self.shared.now();
        let mut state = self.shared.state();
        for pod in state.pods.values_mut() {
            (pod.since, pod.at, pod.integral, pod.started) = (now, now, 0.0, 0.0);
        }
        drop(state);
        self.shared.reporting.send_replace(true);
    }

    /// Stops the reports of all agents.
    pub fn silence(&self) {
        self.shared.reporting.send_replace(false);
    }

    /// Stops the reports of one node's agent.
    pub fn silence_node(&self, node: &str) {
        self.shared.state().silent.push(node.to_owned());
    }

    /// Sets the number of requests in flight of an app, over all its pods, from now on. Returns the current time.
    pub fn load(&self, namespace: &str, app: &str, in_flight: f64) -> Instant {
        let mut state = self.shared.state();
        state.advance(self.shared.now());
        let app = (namespace.to_owned(), app.to_owned());
        state.load.insert(app, in_flight);
        Instant::now()
    }

    /// Returns the number of ready pods of an app.
    #[must_use]
    pub fn ready(&self, namespace: &str, app: &str) -> usize {
        let state = self.shared.state();
        let ours = state
            .pods
            .values()
            .filter(|pod| pod.ready && (&*pod.app.0, &*pod.app.1) == (namespace, app));
        ours.count()
    }

    /// Returns the response times of the reports since the last call of this method.
    #[must_use]
    pub fn took(&self) -> Vec<Duration> {
        std::mem::take(&mut self.shared.state().took)
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        for agent in &self.agents {
            agent.abort();
        }
        self.kubelet.abort();
    }
}

/// A task of the simulated kubelet.
enum Do {
    Begin(Pod),
    End(Pod),
}

fn seen(
    shared: &Shared,
    nodes: &[String],
    kubelet: &mpsc::UnboundedSender<Do>,
    change: Event<Pod>,
) {
    let pod = match change {
        Event::Apply(pod) | Event::InitApply(pod) => pod,
        Event::Delete(pod) => {
            let now = shared.now();
            let mut state = shared.state();
            state.advance(now);
            state.pods.remove(&pod.uid().unwrap_or_default());
            return;
        }
        Event::Init | Event::InitDone => return,
    };
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let Some(node) = node.filter(|node| nodes.contains(node)) else {
        return;
    };
    if pod.namespace().as_deref() == Some(SYSTEM) {
        return;
    }
    let uid = pod.uid().unwrap_or_default();
    let ends = pod.metadata.deletion_timestamp.is_some();
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.clone());
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.any(|is| is.type_ == "Ready" && is.status == "True");
    let now = shared.now();
    let mut state = shared.state();
    state.advance(now);
    let known = state.pods.contains_key(&uid);
    let app = pod.labels().get("app").cloned().unwrap_or_default();
    let entry = state.pods.entry(uid).or_insert_with(|| SimulatedPod {
        app: (pod.namespace().unwrap_or_default(), app),
        node,
        ready: false,
        counted: false,
        since: now,
        at: now,
        integral: 0.0,
        started: 0.0,
    });
    entry.ready = ready && !ends;
    let class = pod.annotations().get("autoscaling.knative.dev/class");
    entry.counted = class.is_some_and(|class| class == "ebb.dev");
    // An error is ignored: the send fails only after the simulated nodes have been dropped.
    if ends {
        let _ = kubelet.send(Do::End(pod));
    } else if !known && !ready {
        let _ = kubelet.send(Do::Begin(pod));
    }
}

/// Maximum number of pods that are started or ended at the same time.
const AT_A_TIME: usize = 8;

/// Carries out the simulated kubelet's tasks, several pods at a time.
async fn work(api: Api, mut asked: mpsc::UnboundedReceiver<Do>) {
    let mut address = 0_u16;
    let mut under_way = JoinSet::new();
    while let Some(what) = asked.recv().await {
        if under_way.len() >= AT_A_TIME {
            under_way.join_next().await;
        }
        let api = api.clone();
        address = address.wrapping_add(1);
        let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 201, 0, 0)) + u32::from(address));
        under_way.spawn_blocking(move || {
            let done = match what {
                Do::Begin(pod) => begin(&api, &pod, ip),
                Do::End(pod) => {
                    let namespace = pod.namespace().unwrap_or_default();
                    let at = path("v1", "Pod", &namespace, &pod.name_any());
                    let at_once = json!({"gracePeriodSeconds": 0});
                    api.ask("DELETE", &at, "application/json", &at_once)
                        .map(drop)
                }
            };
            if let Err(refused) = done
                && refused.code != 404
                && refused.code != 409
            {
                eprintln!("the API server refused a write of the simulated kubelet: {refused:?}");
            }
        });
    }
}

fn begin(api: &Api, pod: &Pod, ip: Ipv4Addr) -> Result<(), super::api::Refused> {
    let ready = if pod.annotations().contains_key(NEVER_READY) {
        "False"
    } else {
        "True"
    };
    let now = k8s_openapi::jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now});
    let status = json!({"status": {
        "phase": "Running", "startTime": now, "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [condition("PodScheduled", "True"), condition("Initialized", "True"),
            condition("ContainersReady", ready), condition("Ready", ready)],
    }});
    let at = path(
        "v1",
        "Pod",
        &pod.namespace().unwrap_or_default(),
        &pod.name_any(),
    );
    api.merge(&format!("{at}/status"), &status).map(drop)
}

/// The simulated agent of one node that reports to one autoscaler replica.
struct SimulatedAgent {
    /// The agent's place in each second if the reports are spread.
    place: Duration,
    shared: Arc<Shared>,
    node: String,
    token: String,
    trust: Arc<ClientConfig>,
    address: SocketAddr,
}

impl SimulatedAgent {
    async fn run(self) {
        let mut reporting = self.shared.reporting.subscribe();
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let mut line = None;
        if reporting.wait_for(|reporting| *reporting).await.is_ok() && self.shared.state().is_spread
        {
            tick.reset_after(self.place);
        }
        loop {
            if reporting.wait_for(|reporting| *reporting).await.is_err() {
                return;
            }
            tick.tick().await;
            let Some(report) = self.read() else { continue };
            let told = time::timeout(ANSWER, self.tell(&mut line, &report)).await;
            if !matches!(told, Ok(Ok(()))) {
                // An error is ignored: counts are cumulative, so the next report also covers a report that was not
                // sent.
                line = None;
            }
        }
    }

    fn read(&self) -> Option<Report<'static>> {
        let now = self.shared.now();
        let mut state = self.shared.state();
        if state.silent.contains(&self.node) {
            return None;
        }
        let shares = state.advance(now);
        let ours = state
            .pods
            .iter()
            .filter(|(_, pod)| pod.node == self.node && pod.counted);
        let pods = ours.map(|(uid, pod)| PodReport {
            uid: uid.clone().into(),
            since: pod.since,
            at: pod.at,
            integral: pod.integral as u64,
            in_flight: pod.share(&shares).round() as u64,
            started: pod.started as u64,
            completed: pod.started as u64,
            ..PodReport::default()
        });
        Some(Report {
            node: self.node.clone().into(),
            boot: format!("simulated {:?}", self.shared.start).into(),
            pods: pods.collect(),
            ..Report::default()
        })
    }

    async fn tell(&self, line: &mut Option<Line>, report: &Report<'_>) -> Result<(), String> {
        let mut open = match line.take() {
            Some(open) => open,
            None => {
                let from = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                Line::connect_to(Arc::clone(&self.trust), from, self.address)
                    .await
                    .map_err(|error| error.to_string())?
            }
        };
        let asked = Instant::now();
        open.report(&self.token, report).await?;
        self.shared.state().took.push(asked.elapsed());
        *line = Some(open);
        Ok(())
    }
}
