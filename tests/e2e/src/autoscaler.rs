//! One replica of `ebb-autoscaler`.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ebb_fixtures::{Process, Signal, Wire, eventually, program};
use serde_json::Value;

use super::{Api, Cluster, SOON, SYSTEM, manifests, server_port, start_process};

/// A running replica.
pub struct Autoscaler {
    process: Process,
    /// Builds the command line of the process, for the first start and each restart.
    command: Box<dyn Fn() -> Command + Send + Sync>,
    folder: tempfile::TempDir,
    identity: String,
    reports: SocketAddr,
    status_port: u16,
    /// The host name to which agents send reports.
    host: String,
    credential: String,
}

/// The replica's network address, and the URL at which it reaches the API server.
#[derive(Debug, Clone, Default)]
pub struct Location {
    /// The API server's URL; `None`: the cluster's own URL.
    pub api: Option<String>,
    /// A host name, and the IP address of this replica; other replicas may share the host name. `None`: the replica
    /// listens on all addresses of the machine, and its host name is `localhost`.
    pub host: Option<(String, IpAddr)>,
}

/// The report port of a replica that has its own IP address.
const REPORT_PORT: u16 = 8443;

impl Autoscaler {
    /// Starts a replica with the service account `ebb-autoscaler`, and waits until the replica is ready.
    ///
    /// # Panics
    /// If the replica does not become ready.
    #[must_use]
    #[track_caller]
    pub fn start(cluster: &Cluster, identity: &str, options: &[&str]) -> Self {
        let this = Self::launch(cluster, identity, options);
        this.await_ready();
        this
    }

    /// Starts a replica without waiting until it is ready.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn launch(cluster: &Cluster, identity: &str, options: &[&str]) -> Self {
        Self::launch_at(&Location::default(), cluster, identity, options)
    }

    /// Like [`Self::launch`], but with the network address and the API server's URL of `place`.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn launch_at(
        place: &Location,
        cluster: &Cluster,
        identity: &str,
        options: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let kubeconfig = folder.path().join("kubeconfig");
        let mut api = cluster.api_as("ebb-autoscaler");
        if let Some(url) = &place.api {
            api = Api::new(url, api.token_text());
        }
        fs::write(&kubeconfig, api.kubeconfig()).expect("write");
        let status_port = server_port();
        let (host, listen, reports) = match &place.host {
            Some((name, address)) => {
                let at = SocketAddr::new(*address, REPORT_PORT);
                (name.clone(), at, at)
            }
            None => {
                let port = server_port();
                let all = SocketAddr::from(([0, 0, 0, 0], port));
                ("localhost".to_owned(), all, ([127, 0, 0, 1], port).into())
            }
        };
        let tls_names = format!("localhost,ebb-autoscaler-reports.ebb-system.svc,{host}");
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let name = identity.to_owned();
        let command = move || {
            let mut command = Command::new(program("ebb-autoscaler"));
            command
                .env("KUBECONFIG", &kubeconfig)
                // In a cluster, the Deployment sets `POD_NAMESPACE` and `POD_NAME` from the downward API.
                .env("POD_NAMESPACE", SYSTEM)
                .env("POD_NAME", &name)
                .args(manifests::arguments("Deployment", "ebb-autoscaler"))
                .args(["--report-address", &listen.to_string()])
                .args(["--status-address", &format!("127.0.0.1:{status_port}")])
                .args(["--probe-address", "127.0.0.1:0"])
                .args(["--tls-names", &tls_names])
                .args(&options)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone().expect("the log file"));
            command
        };
        Self {
            process: start_process(command()),
            command: Box::new(command),
            folder,
            identity: identity.to_owned(),
            reports,
            status_port,
            host,
            credential: credential(api.token_text()),
        }
    }

    /// # Panics
    /// If the replica does not become ready.
    #[track_caller]
    pub fn await_ready(&self) {
        eventually(&format!("{} ready", self.identity), SOON, || {
            (self.get("/readyz")?.0 == 200).then_some(())
        });
    }

    /// Kills the process, as `kill -9` would, and starts it again with the same name and ports.
    ///
    /// # Panics
    /// If the replica does not become ready.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        self.begin();
        self.await_ready();
    }

    /// Kills the process, as `kill -9` would, and waits for its end.
    ///
    /// # Panics
    /// If the process does not end.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.process.wait(SOON);
    }

    /// Starts the process again with the same name and ports, without waiting until the replica is ready.
    pub fn begin(&mut self) {
        self.process = start_process((self.command)());
    }

    /// Waits until this replica is the leader.
    ///
    /// # Panics
    /// If the replica does not become the leader.
    #[track_caller]
    pub fn await_leading(&self) {
        eventually(&format!("{} leading", self.identity), SOON, || {
            self.is_leading().then_some(())
        });
    }

    /// Returns whether the replica reports that it is the leader.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.get("/v1/workloads").is_some_and(|(_, body)| {
            serde_json::from_str::<Value>(&body).is_ok_and(|answer| answer["leading"] == true)
        })
    }

    /// Returns the state of a workload that the replica publishes; null if the replica knows no workload of this name.
    #[must_use]
    pub fn workload(&self, namespace: &str, name: &str) -> Value {
        let found = self
            .workloads()
            .into_iter()
            .find(|workload| workload["namespace"] == namespace && workload["name"] == name);
        found.unwrap_or_default()
    }

    /// Returns the states of all workloads that the replica publishes, read page by page.
    #[must_use]
    pub fn workloads(&self) -> Vec<Value> {
        let (mut all, mut path) = (Vec::new(), "/v1/workloads".to_owned());
        while let Some((_, body)) = self.get(&path) {
            let mut answer: Value = serde_json::from_str(&body).unwrap_or_default();
            if let Some(part) = answer["workloads"].as_array_mut() {
                all.append(part);
            }
            match answer["continue"].as_str() {
                Some(next) => path = format!("/v1/workloads?continue={next}"),
                None => break,
            }
        }
        all
    }

    /// Waits until `wanted` returns a value for a workload's published state.
    ///
    /// # Panics
    /// If `wanted` returns no value `within` this time.
    #[track_caller]
    pub fn await_workload<T>(
        &self,
        what: &str,
        within: Duration,
        (namespace, name): (&str, &str),
        mut wanted: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        eventually(what, within, || wanted(&self.workload(namespace, name)))
    }

    /// Requests a path on the status port. Returns the status code and the body; `None` if the replica accepts no
    /// connection.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let address = ([127, 0, 0, 1], self.status_port).into();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        let mut wire = Wire::connect(address);
        wire.get(path, "Connection: close\r\n");
        let (status, body) = wire.response_with_body();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The report port.
    #[must_use]
    pub fn report_port(&self) -> u16 {
        self.reports.port()
    }

    /// The address of the report port.
    #[must_use]
    pub fn reports(&self) -> SocketAddr {
        self.reports
    }

    /// Returns the credential id that the audit log records for this replica's token. The id differs between replicas
    /// that use the same service account.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// The URL to which agents report.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.host, self.reports.port())
    }

    /// The address of the status port.
    #[must_use]
    pub fn status(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.status_port).into()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process' log so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends the process with SIGTERM, as the kubelet does, and waits for its exit.
    ///
    /// # Panics
    /// If the process does not exit with success.
    #[track_caller]
    pub fn finish(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.process.wait(SOON);
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Returns the replica's temporary folder; a test may store files in it.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Autoscaler {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.identity, self.log());
        }
    }
}

/// Returns the credential id that the audit log records for a token: `JTI=` and the claim `jti` for a real token
/// (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>), or the whole token for the
/// double.
fn credential(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
    match claims["jti"].as_str() {
        Some(id) => format!("JTI={id}"),
        None => token.to_owned(),
    }
}
