//! A cluster in which one scenario of the test matrix runs. It has one Deployment for each cell of the scenario's row.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::agent::Agent;
use ebb_e2e::api::path;
use ebb_e2e::report::trust;
use ebb_e2e::{
    ACCOUNT, Activator, ApiWay, Autoscaler, Cluster, Kubelet, Location, Proxy, SYSTEM, Scales,
    Simulated, deployment, hosts, install_activator,
};
use ebb_fixtures::net::private as network;
use ebb_fixtures::{eventually, row};
use serde_json::json;

use super::cells::{CELLS, Cell, NAMESPACE, Observed, Times};
use super::clients::Clients;
use super::scenario::{LEASE, Scenario};
use crate::light::{WINDOW, fast, on_simulated};

/// Whether the agents or the autoscaler start first. The others start some seconds later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    AgentsFirst,
    AutoscalerFirst,
}

/// Name of a Deployment that a test changes to check that the autoscaler adjusts its replicas.
pub(super) const CANARY: &str = "canary";
/// Time limit for the cluster to become steady: some hundreds of objects take long on a loaded machine.
const SETTLES_WITHIN: Duration = Duration::from_secs(150);
/// Concurrent requests to a workload with traffic whose pods are processes: fewer than one pod can carry.
const CLIENTS: usize = 4;

/// The whole test cluster. Fields are dropped in the order of their declaration, so clients are declared before
/// servers.
pub(super) struct World {
    clients: Vec<(Cell, Clients)>,
    proxy: Proxy,
    scales: Scales,
    activators: Vec<Activator>,
    agents: Vec<Agent>,
    nodes: Option<Simulated>,
    pub(super) replicas: Vec<Autoscaler>,
    pub(super) way: ApiWay,
    kubelet: Kubelet,
    pub(super) cluster: Cluster,
}

/// Runs a scenario, records its results as a row of the matrix, and fails if a workload violates a rule.
pub(super) fn run(scenario: Scenario, order: Order) {
    let mut world = World::new(scenario);
    let from = Instant::now();
    let all_began = world.begin(order);
    world.settle(scenario);
    let idle = match scenario {
        Scenario::Start => all_began,
        // Agents do not count pods that have not opted in, so the autoscaler knows no earlier load.
        Scenario::OptIn => Instant::now(),
        _ => world.end_load_of_idle(),
    };
    world.clients_begin();
    let wrong = scenario.happen(&mut world, order);
    let times = Times {
        from,
        idle,
        loaded_before: !scenario.is_idle_from_the_start(),
        scaled: scenario.scales_afterwards(),
    };
    let shrunk = world.await_shrunk(&times);
    let mut cells: Vec<String> = CELLS
        .iter()
        .map(|cell| {
            let seen = world.seen(*cell);
            cell.verdict(&seen, &times)
                .unwrap_or_else(|| "ok".to_owned())
        })
        .collect();
    for (cell, shown) in CELLS.iter().zip(&mut cells) {
        if shown == "ok" && !shrunk.contains(cell) {
            *shown = "the replicas were not reduced after the scenario".to_owned();
        }
    }
    cells.push(if wrong.is_empty() {
        "ok".to_owned()
    } else {
        wrong.join("; ")
    });
    let columns: Vec<_> = std::iter::once("scenario".to_owned())
        .chain(CELLS.iter().map(|cell| cell.title()))
        .chain(["other rules".to_owned()])
        .collect();
    let began = match order {
        Order::AgentsFirst => "agents first",
        Order::AutoscalerFirst => "autoscaler first",
    };
    let first = format!("{}, {began}", scenario.name());
    row(
        "matrix, replicas and traffic",
        &columns,
        first,
        cells.clone(),
    );
    assert!(cells.iter().all(|cell| cell == "ok"), "{cells:#?}");
}

impl World {
    /// Creates the cluster with the workloads. Starts each autoscaler replica once, so that the certificate authority
    /// exists, and kills it. No autoscaler replica runs afterwards.
    fn new(scenario: Scenario) -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let cluster = Cluster::new();
        install_activator(cluster.api());
        let settings = path("v1", "ConfigMap", SYSTEM, "config-autoscaler");
        let grace = json!({"data": {"scale-to-zero-grace-period": "1s"}});
        cluster.api().merge(&settings, &grace).unwrap();
        let kubelet = Kubelet::start(cluster.api(), &["node-a", "node-b"]);
        let way = ApiWay::to(&cluster.url());
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let name = format!("reports-{number}.ebb-system.svc");
        let lease = format!("{}s", LEASE.as_secs());
        let options = [ACCOUNT, "--lease-duration", &lease];
        let names: &[&str] = match scenario.has_standby() {
            true => &["first", "second"],
            false => &["first"],
        };
        let replicas: Vec<_> = names
            .iter()
            .map(|identity| {
                let address = network::address().expect("a private network");
                hosts::name(&name, address);
                let place = Location {
                    api: Some(way.url()),
                    host: Some((name.clone(), address)),
                };
                Autoscaler::launch_at(&place, &cluster, identity, &options)
            })
            .collect();
        // Waits until the first start has created the certificate authority that agents and activators trust. So the
        // scenario starts from the same state as an upgrade.
        let _ = trust(cluster.api());
        let nodes = Simulated::without_agents(&cluster, &["sim-a", "sim-b", "sim-c", "sim-d"]);
        let mut this = Self {
            clients: Vec::new(),
            proxy: Proxy::start(cluster.api()),
            scales: Scales::start(cluster.api()),
            activators: Vec::new(),
            agents: Vec::new(),
            nodes: None,
            replicas,
            way,
            kubelet,
            cluster,
        };
        for replica in &mut this.replicas {
            replica.kill();
        }
        let addresses: Vec<_> = this
            .replicas
            .iter()
            .map(|replica| replica.reports())
            .collect();
        this.nodes = Some(nodes.with_agents(&this.cluster, &addresses));
        this.deploy(scenario);
        this
    }

    fn deploy(&mut self, scenario: Scenario) {
        self.cluster.namespace(NAMESPACE);
        let api = self.cluster.api();
        for cell in CELLS {
            if cell.is_served() {
                api.apply(&cell.service());
                let pick = self.proxy.pick(NAMESPACE, &cell.name());
                self.clients.push((cell, Clients::new(CLIENTS, pick)));
            }
            let opted_in = scenario != Scenario::OptIn;
            // Ebb scales a workload up from zero only if Ebb has scaled it to zero. So a workload that is to have 0
            // replicas begins with one replica.
            let pods = if opted_in {
                cell.replicas.max(1)
            } else {
                cell.replicas
            };
            api.apply(&cell.deployment(pods, opted_in));
        }
        let least = [("autoscaling.knative.dev/min-scale", "1")];
        api.apply(&on_simulated(deployment(
            NAMESPACE,
            CANARY,
            1,
            &fast(&least),
        )));
        for cell in CELLS.iter().filter(|cell| !cell.is_served()) {
            self.await_ready(*cell);
            if cell.busy || !scenario.is_idle_from_the_start() {
                self.load(*cell, true);
            }
        }
        let (served, proxy) = (CELLS.iter().filter(|cell| cell.replicas == 1), &self.proxy);
        for cell in served {
            eventually("the Service has a pod endpoint", SETTLES_WITHIN, || {
                (!proxy.endpoints(NAMESPACE, &cell.name()).pods.is_empty()).then_some(())
            });
            if cell.busy || !scenario.is_idle_from_the_start() {
                self.load(*cell, true);
            }
        }
    }

    /// Starts autoscaler and agents in the given order. Returns the time at which the later of the two was started.
    fn begin(&mut self, order: Order) -> Instant {
        let mut began = Instant::now();
        if order == Order::AgentsFirst {
            self.start_agents();
            // Waits before the autoscaler starts: each agent sends two reports that no autoscaler receives.
            thread::sleep(Duration::from_secs(2));
            began = Instant::now();
        }
        for number in 0..self.replicas.len() {
            self.replicas[number].begin();
            self.replicas[number].await_ready();
            if number == 0 {
                self.await_leading(0);
            }
        }
        let options = ["--max-wait=60s", "--leave-within=2s"];
        self.activators = ["activator-a", "activator-b"]
            .map(|name| Activator::start(&self.cluster, name, &self.replicas[0], &options))
            .into();
        if order == Order::AutoscalerFirst {
            // Waits before the agents start: the autoscaler gets no reports, and must not scale down.
            thread::sleep(WINDOW + Duration::from_secs(2));
            began = Instant::now();
            self.start_agents();
        }
        began
    }

    /// Waits until the autoscaler counts the pods with load, and the workloads that are to have 0 replicas have none.
    fn settle(&self, scenario: Scenario) {
        let leader = &self.replicas[0];
        for cell in CELLS {
            if scenario == Scenario::OptIn {
                continue;
            }
            let name = cell.name();
            if cell.replicas == 0 {
                eventually(&format!("{name} is at zero"), SETTLES_WITHIN, || {
                    let endpoints = self.proxy.endpoints(NAMESPACE, &name);
                    let (pods, _) = self.scales.of(NAMESPACE, &name)?;
                    (pods == 0 && endpoints.pods.is_empty() && endpoints.activators.len() == 2)
                        .then_some(())
                });
            } else if cell.busy || !scenario.is_idle_from_the_start() {
                eventually(&format!("{name} is counted"), SETTLES_WITHIN, || {
                    let view = leader.workload(NAMESPACE, &name);
                    let desired = view["desired_replicas"].as_u64()?;
                    (desired >= cell.replicas.into() && view["pods_without_metrics"] == 0)
                        .then_some(())
                });
            }
        }
    }

    /// Ends the load of those workloads that are to have no traffic. Returns the current time.
    fn end_load_of_idle(&self) -> Instant {
        for cell in CELLS.iter().filter(|cell| !cell.busy) {
            self.load(*cell, false);
        }
        Instant::now()
    }

    fn clients_begin(&self) {
        for (cell, clients) in &self.clients {
            if cell.busy && self.leads_somewhere(*cell) {
                clients.set(true);
            }
        }
    }

    fn leads_somewhere(&self, cell: Cell) -> bool {
        let endpoints = self.proxy.endpoints(NAMESPACE, &cell.name());
        !endpoints.pods.is_empty() || !endpoints.activators.is_empty()
    }

    /// Waits until the workloads without traffic have scaled down. Then sends requests to each workload behind a
    /// Service, until one more request of each has been answered or has failed. Returns the workloads that have scaled
    /// down, and those that are not expected to.
    fn await_shrunk(&self, times: &Times) -> Vec<Cell> {
        let until = Instant::now() + SETTLES_WITHIN / 2;
        let has_shrunk = |cell: &Cell| {
            let history = self.scales.history(NAMESPACE, &cell.name());
            !times.scaled || cell.has_shrunk(&history)
        };
        while Instant::now() < until && !CELLS.iter().all(has_shrunk) {
            thread::sleep(Duration::from_millis(100));
        }
        for (_, clients) in &self.clients {
            clients.set(true);
        }
        let answered = |clients: &Clients| {
            let (answered, failed) = clients.outcome();
            answered + failed.len() as u64
        };
        let before: Vec<_> = self
            .clients
            .iter()
            .map(|(_, clients)| answered(clients))
            .collect();
        let asked = Instant::now();
        while asked.elapsed() < SETTLES_WITHIN / 3
            && self
                .clients
                .iter()
                .zip(&before)
                .any(|((_, clients), before)| answered(clients) <= *before)
        {
            thread::sleep(Duration::from_millis(50));
        }
        for (_, clients) in &self.clients {
            clients.set(false);
        }
        CELLS.into_iter().filter(has_shrunk).collect()
    }

    fn seen(&self, cell: Cell) -> Observed {
        let clients = self.clients.iter().find(|(of, _)| *of == cell);
        let (answered, mut failed) = clients
            .map(|(_, clients)| clients.outcome())
            .unwrap_or_default();
        if clients.is_some() && answered == 0 && failed.is_empty() {
            failed.push("no request was answered".to_owned());
        }
        Observed {
            history: self.scales.history(NAMESPACE, &cell.name()),
            failed,
            answered,
        }
    }

    fn load(&self, cell: Cell, busy: bool) {
        if let Some((_, clients)) = self.clients.iter().find(|(of, _)| *of == cell) {
            clients.set(busy);
        } else if let Some(nodes) = &self.nodes {
            let load = if busy { cell.load() } else { 0.0 };
            nodes.load(NAMESPACE, &cell.name(), load);
        }
    }

    fn await_ready(&self, cell: Cell) {
        eventually(&format!("{} ready", cell.name()), SETTLES_WITHIN, || {
            let nodes = self.nodes.as_ref()?;
            (nodes.ready(NAMESPACE, &cell.name()) == cell.replicas as usize).then_some(())
        });
    }

    #[track_caller]
    pub(super) fn await_leading(&self, number: usize) {
        eventually("leading", SETTLES_WITHIN, || {
            self.replicas[number].is_leading().then_some(())
        });
    }

    pub(super) fn start_agents(&mut self) {
        let to: Vec<_> = self.replicas.iter().collect();
        let nodes = self.kubelet.nodes().to_vec();
        self.agents = nodes
            .iter()
            .map(|node| Agent::start(&self.cluster, &self.kubelet, node, &to))
            .collect();
        if let Some(nodes) = &self.nodes {
            nodes.report();
        }
    }

    pub(super) fn end_agents(&mut self) {
        self.agents.clear();
        if let Some(nodes) = &self.nodes {
            nodes.silence();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            for replica in &self.replicas {
                let log = replica.log();
                let lines: Vec<_> = log.lines().rev().take(30).collect();
                for line in lines.iter().rev() {
                    eprintln!("{line}");
                }
            }
        }
    }
}
