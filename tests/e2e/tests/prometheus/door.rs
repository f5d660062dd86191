//! An activator with one proxied Service port. It queues, answers and refuses requests, so that its panels have data.
//! Its API server is a double of its own, because this module writes the EndpointSlices.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use ebb_api_double::Double;
use ebb_e2e::api::path;
use ebb_e2e::{Api, SOON, allotted_port, double_without_controllers, record_port};
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Process, TestCgroup, Wire, eventually, free_port, program};
use serde_json::{Value, json};

pub(super) struct Door {
    api: Api,
    namespace: String,
    door: SocketAddr,
    pub(super) status: SocketAddr,
    _process: Process,
    sample: Option<(Sample, TestCgroup)>,
    _double: Double,
    _folder: tempfile::TempDir,
}

impl Door {
    /// Starts the activator for Service `web` of this namespace, without a pod. `options`: further options of the
    /// activator.
    pub(super) fn new(namespace: &str, options: &[&str]) -> Self {
        let double = double_without_controllers();
        let api = Api::new(&double.url(), double.admin_token());
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        fs::write(&kubeconfig, api.kubeconfig()).unwrap();
        let [status, nobody] =
            std::array::from_fn(|_| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let door = SocketAddr::from(([127, 0, 0, 1], allotted_port()));
        let mut command = Command::new(program("ebb-activator"));
        command
            .env("KUBECONFIG", &kubeconfig)
            .env("POD_NAME", "activator-1")
            .env("POD_IP", "127.0.0.1")
            .args(["--listen", "127.0.0.1"])
            .args(["--status-address", &status.to_string()])
            .args(["--probe-address", "127.0.0.1:0"])
            // No autoscaler receives the reports, because the test uses only the activator's own metrics.
            .args(["--autoscaler", &format!("http://{nobody}")])
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let this = Self {
            api,
            namespace: namespace.to_owned(),
            door,
            status,
            _process: Process::start(command, None),
            sample: None,
            _double: double,
            _folder: folder,
        };
        record_port(&this.api, namespace, "web", door.port());
        this.write("web-ebb", "ebb.dev", door.port(), &[door]);
        eventually("the door listens", SOON, || {
            std::net::TcpStream::connect(door).ok()
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
        self.api.create(&all, &slice).unwrap();
    }

    /// Sends a request, which is queued.
    pub(super) fn ask(&self) -> Wire {
        let mut wire = Wire::connect(self.door);
        wire.get("/", "");
        wire
    }

    /// Starts a pod and publishes its endpoint.
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
