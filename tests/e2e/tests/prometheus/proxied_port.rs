//! An activator with one proxied Service port. It queues, answers and refuses requests, so that the dashboard panels of
//! activators have data. It has a separate API server double, because this module writes the EndpointSlices.

use std::net::SocketAddr;

use ebb_e2e::api::path;
use ebb_e2e::{LoneActivator, SOON};
use ebb_fixtures::server::Sample;
use ebb_fixtures::{TestCgroup, Wire, eventually, free_port};
use serde_json::{Value, json};

pub(super) struct ProxiedPort {
    activator: LoneActivator,
    namespace: String,
    pub(super) status: SocketAddr,
    sample: Option<(Sample, TestCgroup)>,
}

impl ProxiedPort {
    /// Starts the activator for Service `web` of this namespace. The Service has no pod. `options`: additional options
    /// of the activator.
    pub(super) fn new(namespace: &str, options: &[&str]) -> Self {
        // No autoscaler receives the activator's reports: the test needs only the activator's metrics.
        let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let activator = LoneActivator::start(namespace, nobody, options);
        let address = activator.proxied;
        let this = Self {
            namespace: namespace.to_owned(),
            status: activator.status,
            activator,
            sample: None,
        };
        this.write("web-ebb", "ebb.dev", address.port(), &[address]);
        eventually("the activator listens", SOON, || {
            std::net::TcpStream::connect(address).ok()
        });
        this
    }

    fn write(&self, name: &str, manager: &str, port: u16, endpoints: &[SocketAddr]) {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|at| json!({"addresses": [at.ip().to_string()], "conditions": {"ready": true}}))
            .collect();
        let slice: Value = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": self.namespace, "name": name,
                "labels": {
                    "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": manager,
                },
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        let all = path("discovery.k8s.io/v1", "EndpointSlice", &self.namespace, "");
        self.activator.api.create(&all, &slice).unwrap();
    }

    /// Sends a request; the activator queues it while there is no pod.
    pub(super) fn ask(&self) -> Wire {
        let mut wire = Wire::connect(self.activator.proxied);
        wire.get("/", "");
        wire
    }

    /// Starts a pod's server and publishes its endpoint.
    pub(super) fn serve(&mut self) {
        let cgroup = TestCgroup::new();
        let sample = Sample::start(&cgroup);
        let address = sample.address();
        self.write(
            "web-x",
            "endpointslice-controller.k8s.io",
            address.port(),
            &[address],
        );
        self.sample = Some((sample, cgroup));
    }
}
