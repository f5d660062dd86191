//! A cluster with two activators, in which workloads scale to zero after some ten seconds without requests.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::api::path;
use ebb_e2e::{
    ACCOUNT, Activator, Endpoints, Proxy, SYSTEM, Scales, deployment, install_activator, opted_in,
};
use ebb_fixtures::{Shared, SharedRef, eventually};
use serde_json::{Value, json};

use crate::world::{FAST, World};

/// Time limit for the scale-down to zero and similar changes. On an idle machine, the scale-down takes some 10 s: a
/// window of 6 s, two decisions, a change of the EndpointSlice, and a grace period of 1 s. The limit allows for a
/// loaded machine.
pub(crate) const TO_ZERO: Duration = Duration::from_secs(90);
/// The activators' `--max-wait`: the maximum time that a request is queued.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(20);

/// The whole test cluster. Fields are dropped in the order of their declaration, so clients are declared before
/// servers.
pub(crate) struct Zero {
    pub(crate) proxy: Proxy,
    pub(crate) scales: Scales,
    pub(crate) activators: Vec<Activator>,
    pub(crate) world: World,
}

static SHARED: Shared<Zero> = Shared::new();

/// Returns the shared cluster.
pub(crate) fn shared() -> SharedRef<Zero> {
    SHARED.get(Zero::new)
}

/// Ends the shared cluster.
pub(crate) fn end() {
    SHARED.end();
}

impl Zero {
    pub(crate) fn new() -> Self {
        let world = World::before(&["first"], &[ACCOUNT], |cluster| {
            install_activator(cluster.api());
            let settings = path("v1", "ConfigMap", SYSTEM, "config-autoscaler");
            let grace = json!({"data": {"scale-to-zero-grace-period": "1s"}});
            cluster.api().merge(&settings, &grace).unwrap();
        });
        let wait = format!("--max-wait={}s", MAX_WAIT.as_secs());
        let options = [&*wait, "--leave-within=2s"];
        let activators = ["activator-a", "activator-b"]
            .map(|name| Activator::start(&world.cluster, name, world.replica(), &options));
        Self {
            proxy: Proxy::start(world.api()),
            scales: Scales::start(world.api()),
            activators: activators.into(),
            world,
        }
    }

    /// Creates a namespace, and in it a Deployment with one pod and a Service.
    pub(crate) fn app(&self, namespace: &str, name: &str, annotations: &[(&str, &str)]) -> App<'_> {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        });
        self.app_behind(namespace, name, annotations, &[service])
    }

    /// Creates a namespace, and in it a Deployment with one pod and these Services. One of the Services must have the
    /// Deployment's name.
    pub(crate) fn app_behind(
        &self,
        namespace: &str,
        name: &str,
        annotations: &[(&str, &str)],
        services: &[Value],
    ) -> App<'_> {
        let annotations = annotations.iter().copied();
        let given: Vec<_> = [FAST].into_iter().chain(annotations).collect();
        let api = self.world.api();
        self.world.cluster.namespace(namespace);
        for service in services {
            api.apply(service);
        }
        api.apply(&deployment(namespace, name, 1, &opted_in(&given)));
        App {
            zero: self,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Returns the sum of a metric of an app's Service over all activators. `further`: another label of the metric, or
    /// empty.
    pub(crate) fn metric(&self, name: &str, app: &App<'_>, further: &str) -> f64 {
        let of = |activator: &Activator| activator.metric(name, &app.namespace, &app.name, further);
        self.activators.iter().map(of).sum()
    }
}

/// A workload under test; deleted when dropped.
pub(crate) struct App<'a> {
    zero: &'a Zero,
    namespace: String,
    name: String,
}

impl App<'_> {
    /// Returns a function that chooses the endpoint of the next connection; `None`: the connection is refused.
    pub(crate) fn pick(&self) -> impl Fn() -> Option<SocketAddr> + Send + Sync + Clone + 'static {
        self.zero.proxy.pick(&self.namespace, &self.name)
    }

    /// Returns the requested replicas and the time of their last change.
    pub(crate) fn scale(&self) -> Option<(i32, Instant)> {
        self.zero.scales.of(&self.namespace, &self.name)
    }

    pub(crate) fn newest(&self) -> Endpoints {
        self.zero.proxy.newest(&self.namespace, &self.name)
    }

    /// Returns the time at which the API server reported a ready pod.
    pub(crate) fn pod_told(&self) -> Option<Instant> {
        self.zero.proxy.pods_since(&self.namespace, &self.name)
    }

    pub(crate) fn endpoints(&self) -> Endpoints {
        self.zero.proxy.endpoints(&self.namespace, &self.name)
    }

    pub(crate) fn view(&self) -> Value {
        self.zero
            .world
            .replica()
            .workload(&self.namespace, &self.name)
    }

    pub(crate) fn names(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// Waits until the workload has no pod, and the proxy sends the workload's requests to activators.
    #[track_caller]
    pub(crate) fn await_zero(&self) {
        let what = format!("{}/{} at zero", self.namespace, self.name);
        eventually(&what, TO_ZERO, || {
            let at_zero = self.scale().is_some_and(|(pods, _)| pods == 0);
            let endpoints = self.endpoints();
            (at_zero && endpoints.pods.is_empty() && !endpoints.activators.is_empty()).then_some(())
        });
        let pods = self.zero.world.kubelet.watcher();
        eventually(&what, TO_ZERO, || {
            pods()
                .iter()
                .all(|pod| (&*pod.namespace, &*pod.app) != self.names())
                .then_some(())
        });
    }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "{}\n{:?}\nlog of the autoscaler:",
                self.view(),
                self.newest()
            );
            let log = self.zero.world.replica().log();
            for line in log.lines().filter(|line| line.contains(&self.namespace)) {
                eprintln!("{line}");
            }
        }
        let api = self.zero.world.api();
        for (version, kind) in [("apps/v1", "Deployment"), ("v1", "Service")] {
            api.delete(&path(version, kind, &self.namespace, &self.name))
                .ok();
        }
    }
}
