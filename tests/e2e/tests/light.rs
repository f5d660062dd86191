//! A cluster whose pods are simulated, for tests of scaling decisions. The cluster can have many pods and starts fast,
//! but its pods serve no requests.

use std::time::{Duration, Instant};

use ebb_e2e::api::path;
use ebb_e2e::simulated::LABEL;
use ebb_e2e::{Api, Autoscaler, Cluster, SOON, Scales, Simulated, deployment};
use ebb_fixtures::eventually;
use serde_json::{Value, json};

use crate::world::FAST;

/// The stable window of workloads with the annotation [`FAST`].
pub(crate) const WINDOW: Duration = Duration::from_secs(6);
/// The length of a window's buckets. The oldest bucket of a window is only partly filled.
pub(crate) const BUCKET: Duration = Duration::from_secs(1);
/// Requests in flight that one pod carries with the annotation [`crate::world::TEN`]: 70 % of the target of 10.
pub(crate) const CARRIES: f64 = 7.0;
/// The share of a load that the autoscaler certainly measures. A report may be 0.5 s late before the autoscaler fills
/// in values for it. Until then, 0.5 s of the window of 6 s (8 %) seem to be without load.
const EXACT: f64 = 0.9;

/// Returns the minimum number of pods that a load still requires when it ended `ended` ago. After the end of the load,
/// the load's average over the window falls. `ended` is zero if the load has not ended.
pub(crate) fn needs(load: f64, ended: Duration) -> i32 {
    let left = match ended {
        Duration::ZERO => 1.0,
        ended => 1.0 - (ended + BUCKET).as_secs_f64() / WINDOW.as_secs_f64(),
    };
    (load * EXACT * left.max(0.0) / CARRIES).ceil() as i32
}

/// The cluster with its autoscaler replicas and simulated nodes. Fields are dropped in the order of their declaration,
/// so clients are declared before servers.
pub(crate) struct Light {
    pub(crate) scales: Scales,
    pub(crate) nodes: Simulated,
    pub(crate) replicas: Vec<Autoscaler>,
    pub(crate) cluster: Cluster,
}

impl Light {
    /// Starts a new cluster with simulated agents and one autoscaler replica, which leads.
    pub(crate) fn new() -> Self {
        Self::on(Cluster::new())
    }

    /// Starts simulated agents and one autoscaler replica, which leads, on an existing cluster.
    pub(crate) fn on(cluster: Cluster) -> Self {
        Self::with(cluster, &["first"])
    }

    /// Starts simulated agents and these autoscaler replicas on an existing cluster. The first replica leads.
    pub(crate) fn with(cluster: Cluster, replicas: &[&str]) -> Self {
        let replicas: Vec<_> = replicas
            .iter()
            .map(|name| {
                let replica = Autoscaler::start(&cluster, name, &[]);
                if *name == replicas[0] {
                    replica.await_leading();
                }
                replica
            })
            .collect();
        let to: Vec<_> = replicas.iter().collect();
        let nodes = Simulated::start(&cluster, &["sim-a", "sim-b"], &to);
        nodes.report();
        Self {
            scales: Scales::start(cluster.api()),
            nodes,
            replicas,
            cluster,
        }
    }

    pub(crate) fn api(&self) -> &Api {
        self.cluster.api()
    }

    pub(crate) fn replica(&self) -> &Autoscaler {
        &self.replicas[0]
    }

    /// Creates a namespace with a Deployment on the simulated nodes, and waits until its pods are ready.
    pub(crate) fn app(&self, namespace: &str, name: &str, replicas: u32, annotations: &Value) {
        self.cluster.namespace(namespace);
        self.api().apply(&on_simulated(deployment(
            namespace,
            name,
            replicas,
            annotations,
        )));
        self.await_ready(namespace, name, replicas as usize);
    }

    /// Waits until this number of a Deployment's pods is ready.
    #[track_caller]
    pub(crate) fn await_ready(&self, namespace: &str, name: &str, pods: usize) {
        let what = format!("{pods} pods of {namespace}/{name} are ready");
        eventually(&what, SOON, || {
            (self.nodes.ready(namespace, name) == pods).then_some(())
        });
    }

    /// Returns the requested replicas of a Deployment.
    pub(crate) fn replicas_of(&self, namespace: &str, name: &str) -> u64 {
        let at = path("apps/v1", "Deployment", namespace, name);
        let object = self.api().get(&at).unwrap_or_default();
        object["spec"]["replicas"].as_u64().unwrap_or(u64::MAX)
    }

    /// Waits until a Deployment requests this number of replicas.
    #[track_caller]
    pub(crate) fn await_replicas(&self, namespace: &str, name: &str, within: Duration, pods: u64) {
        let what = format!("{namespace}/{name} requests {pods} replicas");
        eventually(&what, within, || {
            (self.replicas_of(namespace, name) == pods).then_some(())
        });
    }

    /// Waits for this time, and asserts that a Deployment has never requested fewer than `least` replicas.
    ///
    /// # Panics
    /// If the Deployment requested fewer replicas.
    #[track_caller]
    pub(crate) fn assert_never_below(
        &self,
        namespace: &str,
        name: &str,
        least: i32,
        time: Duration,
    ) {
        std::thread::sleep(time);
        let history = self.scales.history(namespace, name);
        let pods: Vec<_> = history.iter().map(|(pods, _)| *pods).collect();
        assert!(
            !pods.is_empty() && pods.iter().all(|pods| *pods >= least),
            "{namespace}/{name}: {pods:?}, at least {least} expected; {}",
            self.replica().workload(namespace, name)
        );
    }

    /// Asserts that a Deployment has never requested fewer replicas than its load required. `ended`: the time at which
    /// the load ended.
    ///
    /// # Panics
    /// If the Deployment requested fewer replicas.
    #[track_caller]
    pub(crate) fn assert_fell_with_its_load(
        &self,
        namespace: &str,
        name: &str,
        load: f64,
        ended: Instant,
    ) {
        let history = self.scales.history(namespace, name);
        let early: Vec<_> = history
            .iter()
            .map(|(pods, at)| (*pods, at.saturating_duration_since(ended)))
            .filter(|(pods, after)| *pods < needs(load, *after))
            .collect();
        assert!(early.is_empty(), "{namespace}/{name}: {early:?}");
    }
}

/// Prints the last lines of the autoscaler's logs if the test failed.
impl Drop for Light {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for replica in &self.replicas {
                let log = replica.log();
                let lines: Vec<_> = log.lines().rev().take(40).collect();
                for line in lines.iter().rev() {
                    eprintln!("{line}");
                }
            }
        }
    }
}

/// Returns the object with a node selector that places its pods on simulated nodes.
pub(crate) fn on_simulated(mut object: Value) -> Value {
    object["spec"]["template"]["spec"]["nodeSelector"] = json!({LABEL: "true"});
    object
}

/// Returns annotations that opt a workload in, with the shortest window and a target of 10, plus `more`.
pub(crate) fn fast(more: &[(&str, &str)]) -> Value {
    let given = [FAST, crate::world::TEN];
    let all: Vec<_> = given.iter().chain(more).copied().collect();
    ebb_e2e::opted_in(&all)
}
