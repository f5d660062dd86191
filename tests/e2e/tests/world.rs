//! A cluster with two nodes and autoscaler replicas. Tests that need one replica and do not disturb other tests share
//! one cluster.

use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::agent::Agent;
use ebb_e2e::api::path;
use ebb_e2e::{Api, Autoscaler, Cluster, Kubelet, SOON, Traffic, deployment, opted_in};
use ebb_fixtures::{Need, Shared, SharedRef, eventually};
use serde_json::Value;

/// What a test with nodes needs, because the nodes run pods as processes in cgroups.
pub(crate) const NODES: &[Need] = &[Need::Cgroup];
/// Annotation for windows of 6 s, the shortest that Ebb allows, so that tests take little time.
pub(crate) const FAST: (&str, &str) = ("autoscaling.knative.dev/window", "6s");
/// Annotation for a target of 10 requests in flight per pod. At the default utilization of 70 %, the autoscaler aims at
/// 7 requests per pod.
pub(crate) const TEN: (&str, &str) = ("autoscaling.knative.dev/target", "10");
/// The duration of each request that [`App::traffic`] sends.
pub(crate) const REQUEST: Duration = Duration::from_millis(200);
/// Number of concurrent clients that need about five pods: 32 / 7 = 4.6.
pub(crate) const FIVE: usize = 32;

/// The whole test cluster. Fields are dropped in the order of their declaration, so clients are declared before
/// servers.
pub(crate) struct World {
    pub(crate) agents: Vec<Agent>,
    pub(crate) replicas: Vec<Autoscaler>,
    pub(crate) kubelet: Kubelet,
    pub(crate) cluster: Cluster,
}

static SHARED: Shared<World> = Shared::new();

/// Returns the shared cluster. Tests that use it at the same time must use separate namespaces.
pub(crate) fn shared() -> SharedRef<World> {
    SHARED.get(|| World::new(&["first"]))
}

/// Ends the shared cluster.
pub(crate) fn end() {
    SHARED.end();
}

impl World {
    /// Starts a cluster with these autoscaler replicas; the first one leads.
    pub(crate) fn new(replicas: &[&str]) -> Self {
        Self::with(replicas, &[])
    }

    /// Starts a cluster with these autoscaler replicas and command-line options. The first replica leads.
    pub(crate) fn with(replicas: &[&str], options: &[&str]) -> Self {
        Self::before(replicas, options, |_| ())
    }

    /// Like [`Self::with`], but the autoscaler replicas start only after `prepare` has changed the cluster.
    pub(crate) fn before(
        replicas: &[&str],
        options: &[&str],
        prepare: impl FnOnce(&Cluster),
    ) -> Self {
        let cluster = Cluster::new();
        prepare(&cluster);
        let kubelet = Kubelet::start(cluster.api(), &["node-a", "node-b"]);
        let replicas: Vec<_> = replicas
            .iter()
            .map(|name| {
                let replica = Autoscaler::start(&cluster, name, options);
                if *name == replicas[0] {
                    replica.await_leading();
                }
                replica
            })
            .collect();
        let to: Vec<_> = replicas.iter().collect();
        let nodes = kubelet.nodes().to_vec();
        let agents = nodes
            .iter()
            .map(|node| Agent::start(&cluster, &kubelet, node, &to))
            .collect();
        Self {
            agents,
            replicas,
            kubelet,
            cluster,
        }
    }

    pub(crate) fn api(&self) -> &Api {
        self.cluster.api()
    }

    pub(crate) fn replica(&self) -> &Autoscaler {
        &self.replicas[0]
    }

    /// Creates a namespace with a Deployment, and waits until all its pods serve.
    pub(crate) fn app(
        &self,
        namespace: &str,
        name: &str,
        replicas: u32,
        annotations: &[(&str, &str)],
    ) -> App<'_> {
        let app = self.deploy(namespace, name, replicas, annotations);
        app.await_serving(replicas as usize);
        app
    }

    /// Creates a namespace with a Deployment, and does not wait until the pods serve.
    pub(crate) fn deploy(
        &self,
        namespace: &str,
        name: &str,
        replicas: u32,
        annotations: &[(&str, &str)],
    ) -> App<'_> {
        self.cluster.namespace(namespace);
        self.api().apply(&deployment(
            namespace,
            name,
            replicas,
            &opted_in(annotations),
        ));
        App {
            world: self,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// A Deployment under test; deleted when dropped.
pub(crate) struct App<'a> {
    pub(crate) world: &'a World,
    namespace: String,
    name: String,
}

impl App<'_> {
    pub(crate) fn path(&self) -> String {
        path("apps/v1", "Deployment", &self.namespace, &self.name)
    }

    /// Requested replicas.
    pub(crate) fn replicas(&self) -> u64 {
        self.world
            .api()
            .get(&self.path())
            .ok()
            .and_then(|object| object["spec"]["replicas"].as_u64())
            .unwrap_or(u64::MAX)
    }

    #[track_caller]
    pub(crate) fn await_replicas(&self, within: Duration, wanted: impl Fn(u64) -> bool) -> u64 {
        let what = format!("{}/{} scaled as wanted", self.namespace, self.name);
        eventually(&what, within, || {
            Some(self.replicas()).filter(|replicas| wanted(*replicas))
        })
    }

    /// Waits until two decisions in a row desire the current number of replicas, outside panic mode. By then, the
    /// windows contain only the current load. Asserts that the number is in `wanted` and returns it.
    #[track_caller]
    pub(crate) fn await_steady(&self, wanted: RangeInclusive<u64>) -> u64 {
        let what = format!("{}/{} steady", self.namespace, self.name);
        let mut decided = Value::Null;
        let steady = eventually(&what, SOON, || {
            let (replicas, view) = (self.replicas(), self.view());
            let calm = view["panic_mode"] == false
                && view["desired_replicas"] == replicas
                && view["ready_replicas"] == replicas;
            if !calm {
                decided = Value::Null;
            } else if decided.is_null() {
                decided = view["decided_at"].clone();
            }
            (calm && decided != view["decided_at"]).then_some(replicas)
        });
        assert!(wanted.contains(&steady), "{steady}: {}", self.view());
        steady
    }

    #[track_caller]
    pub(crate) fn await_serving(&self, pods: usize) {
        let endpoints = self.world.kubelet.endpoints(&self.namespace, &self.name);
        let what = format!(
            "{pods} pods of {}/{} are in the endpoints",
            self.namespace, self.name
        );
        eventually(&what, SOON, || (endpoints().len() == pods).then_some(()));
    }

    /// Asserts that the number of replicas stays at `pods` for this time.
    #[track_caller]
    pub(crate) fn assert_stays(&self, pods: u64, time: Duration) {
        self.assert_within(pods..=pods, time);
    }

    /// Asserts that the number of replicas stays in this range for this time.
    #[track_caller]
    pub(crate) fn assert_within(&self, pods: RangeInclusive<u64>, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let replicas = self.replicas();
            assert!(
                pods.contains(&replicas) || replicas == u64::MAX,
                "{replicas} replicas, {pods:?} expected: {}",
                self.view()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn traffic(&self, most: usize) -> Traffic {
        Traffic::new(
            self.world.kubelet.endpoints(&self.namespace, &self.name),
            most,
            REQUEST,
        )
    }

    /// Returns the state of the workload that the first autoscaler replica publishes.
    pub(crate) fn view(&self) -> Value {
        self.world.replica().workload(&self.namespace, &self.name)
    }

    #[track_caller]
    pub(crate) fn await_event(&self, reason: &str) -> String {
        await_event(
            self.world.api(),
            &self.namespace,
            "Deployment",
            &self.name,
            reason,
        )
    }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}\nlog of the autoscaler:", self.view());
            let log = self.world.replica().log();
            for line in log.lines().filter(|line| line.contains(&self.namespace)) {
                eprintln!("{line}");
            }
        }
        self.world.api().delete(&self.path()).ok();
    }
}

/// Returns the Events on an object: the reason and the note of each.
pub(crate) fn events(api: &Api, namespace: &str, kind: &str, name: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events = api.list(&path("events.k8s.io/v1", "Event", namespace, ""));
    events
        .iter()
        .filter(|event| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name)
        .map(|event| (text(&event["reason"]), text(&event["note"])))
        .collect()
}

/// Waits for an Event with this reason on an object, and returns the note of the first such Event.
#[track_caller]
pub(crate) fn await_event(
    api: &Api,
    namespace: &str,
    kind: &str,
    name: &str,
    reason: &str,
) -> String {
    eventually(
        &format!("an Event {reason} on {kind} {namespace}/{name}"),
        SOON,
        || {
            let mut events = events(api, namespace, kind, name).into_iter();
            events
                .find(|(found, _)| found == reason)
                .map(|(_, note)| note)
        },
    )
}
