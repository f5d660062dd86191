//! One replica of `ebb-activator`, started as the Deployment in `deploy/` starts it.

use std::fs::{self, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use ebb_fixtures::net::private as network;
use ebb_fixtures::{Process, Signal, Wire, eventually, program};
use serde_json::json;

use super::api::{Api, path};
use super::report::authority;
use super::{Autoscaler, Cluster, SOON, SYSTEM, manifests, server_port, start_process};

/// The activator's Deployment.
const MANIFEST: &str = "deploy/components/activator/activator.yaml";
/// The activator's RBAC rules, including its access to the autoscaler.
const RIGHTS: &str = "deploy/components/activator/rbac.yaml";
/// The admission policies that limit the activator.
const LIMITS: &str = "deploy/components/activator/admission.yaml";

/// The autoscaler option that names the activator's service account; the Kustomize component `activator` sets it.
pub const ACCOUNT: &str = "--activator-account=ebb-system/ebb-activator";

/// A running replica.
#[derive(Debug)]
pub struct Activator {
    name: String,
    address: IpAddr,
    status: SocketAddr,
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
}

/// Applies the activator's RBAC rules and admission policies, but not its Deployment.
pub fn install(api: &Api) {
    for object in [RIGHTS, LIMITS].into_iter().flat_map(manifests::objects) {
        api.apply(&object);
    }
}

impl Activator {
    /// Starts a replica with the service account `ebb-activator`, and waits until the replica is ready.
    ///
    /// # Panics
    /// If the replica does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(cluster: &Cluster, name: &str, autoscaler: &Autoscaler, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("write");
        };
        for part in ["ca", "token"] {
            fs::create_dir_all(folder.path().join(part)).expect("a folder");
        }
        write("kubeconfig", &cluster.api_as("ebb-activator").kubeconfig());
        write("ca/ca.crt", &authority(cluster.api()));
        write("token/token", &token(cluster.api(), name));
        let address = network::address().expect("a private network");
        let status = SocketAddr::from((Ipv4Addr::LOCALHOST, server_port()));
        let mounted = folder.path().display().to_string();
        let given = manifests::arguments_in(MANIFEST, "Deployment", "ebb-activator");
        let given = given
            .into_iter()
            .filter(|argument| !argument.starts_with("--autoscaler="))
            .map(|argument| argument.replace("/var/run/secrets/ebb", &mounted));
        let own = [
            format!("--autoscaler={}", autoscaler.url()),
            format!("--status-address={status}"),
            "--probe-address=127.0.0.1:0".to_owned(),
            format!("--listen={address}"),
        ];
        let options = options.iter().map(|option| (*option).to_owned());
        let arguments = given.chain(own).chain(options).collect();
        let this = Self {
            name: name.to_owned(),
            address,
            status,
            folder,
            arguments,
            process: Mutex::default(),
        };
        this.begin();
        this
    }

    /// Starts the process, for the first time or after it has ended, and waits until it is ready.
    ///
    /// # Panics
    /// If the replica does not become ready.
    #[track_caller]
    pub fn begin(&self) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file");
        let mut command = Command::new(program("ebb-activator"));
        command
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("POD_NAME", &self.name)
            .env("POD_IP", self.address.to_string())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        *self.process() = Some(start_process(command));
        eventually(&format!("{} ready", self.name), SOON, || {
            (self.get("/readyz")?.0 == 200).then_some(())
        });
    }

    /// Kills the process, as `kill -9` would.
    pub fn kill(&self) {
        // Dropping the process kills it and waits for it.
        self.process().take();
    }

    /// Ends the process with SIGTERM, as the kubelet does, and waits for its exit.
    ///
    /// # Panics
    /// If the process does not exit with success.
    #[track_caller]
    pub fn finish(&self) {
        let mut process = self.process().take().expect("it runs");
        process.signal(Signal::SIGTERM);
        let status = process.wait(SOON);
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// The replica's address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The replica's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns the value of a metric of one Service; 0 if the metric is missing. `further`: another label that the
    /// metric must have; empty if it needs no other label.
    #[must_use]
    pub fn metric(&self, name: &str, namespace: &str, service: &str, further: &str) -> f64 {
        let labels = [
            format!("namespace=\"{namespace}\""),
            format!("service=\"{service}\""),
            further.to_owned(),
        ];
        let text = self.get("/metrics").map(|(_, text)| text);
        let text = text.unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        let mut lines = lines.filter(|line| labels.iter().all(|label| line.contains(&**label)));
        let value = lines.next().and_then(|line| line.rsplit(' ').next());
        value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// Requests a path on the status port. Returns the status code and the body; `None` if the replica accepts no
    /// connection.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        std::net::TcpStream::connect(self.status).ok()?;
        let mut wire = Wire::connect(self.status);
        wire.get(path, "Connection: close\r\n");
        let (status, body) = wire.response_with_body();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Activator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log());
        }
    }
}

/// Creates the activator's pod and returns a token bound to the pod.
///
/// # Panics
/// If the API server refuses the request.
#[must_use]
pub fn token(api: &Api, name: &str) -> String {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {"nodeName": "node-a", "serviceAccountName": "ebb-activator", "containers": [{"name": "activator", "image": "ebb"}]},
    });
    let pod = api
        .create(&path("v1", "Pod", SYSTEM, ""), &pod)
        .unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
    api.token(
        SYSTEM,
        "ebb-activator",
        Some(ebb_contract::AUDIENCE),
        Some(&pod),
    )
}
