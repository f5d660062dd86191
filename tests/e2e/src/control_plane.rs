//! A real Kubernetes control plane: etcd, kube-apiserver, controller-manager, scheduler.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ebb_fixtures::net::private::MACHINE;
use ebb_fixtures::{Process, eventually};
use serde_json::{Value, json};

use super::api::Api;
use super::expired::expired;
use super::{SYSTEM, server_port, start_process};

/// Time limit for the start of the API server. The start takes some ten seconds on two idle cores.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
const ADMIN: &str = "real-admin";

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    etcd_port: u16,
    /// The authorization option of the API server.
    authorization: String,
    // Fields are dropped in the order of their declaration, so clients are declared before servers.
    rest: Vec<Process>,
    server: Mutex<Option<Process>>,
    _etcd: Process,
}

impl ControlPlane {
    /// # Panics
    /// If the control plane does not start.
    #[must_use]
    pub fn start(programs: PathBuf) -> Self {
        Self::authorizing(programs, "--authorization-mode=RBAC".to_owned())
    }

    /// Starts with an authorization configuration file.
    ///
    /// # Panics
    /// If the control plane does not start.
    #[must_use]
    pub fn with_authorization(programs: PathBuf, file: &Path) -> Self {
        let option = format!("--authorization-config={}", file.display());
        Self::authorizing(programs, option)
    }

    fn authorizing(programs: PathBuf, authorization: String) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (etcd_port, port) = (server_port(), server_port());
        keys(folder.path());
        fs::write(
            folder.path().join("tokens.csv"),
            format!("{ADMIN},admin,admin,system:masters\n"),
        )
        .expect("write");
        fs::write(folder.path().join("audit.json"), audited().to_string()).expect("write");
        let mut etcd = Command::new(programs.join("etcd"));
        let client = format!("http://127.0.0.1:{etcd_port}");
        etcd.arg(format!(
            "--data-dir={}",
            folder.path().join("etcd").display()
        ))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg("--listen-peer-urls=http://127.0.0.1:0")
        // etcd runs without fsync, because tests do not depend on their data after a power failure.
        .arg("--unsafe-no-fsync");
        let etcd = start(folder.path(), "etcd", etcd);
        let mut this = Self {
            folder,
            programs,
            port,
            etcd_port,
            authorization,
            rest: Vec::new(),
            server: Mutex::default(),
            _etcd: etcd,
        };
        this.come_up();
        this.start_the_rest();
        this
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// A token with all rights.
    #[must_use]
    pub fn admin_token(&self) -> &'static str {
        ADMIN
    }

    /// Stops the API server; etcd keeps the data.
    pub fn go_away(&self) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// See [`super::Cluster::expired`].
    pub(super) fn expired(&self, good: &str) -> String {
        let key = fs::read_to_string(self.folder.path().join("accounts.key")).expect("read");
        expired(good, &rcgen::KeyPair::from_pem(&key).expect("a key"))
    }

    /// See [`super::Cluster::audit`].
    pub(super) fn audit(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Starts the API server again at the same port.
    ///
    /// # Panics
    /// If the API server does not start.
    pub fn come_up(&self) {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let mut server = Command::new(self.programs.join("kube-apiserver"));
        server
            .arg(format!(
                "--etcd-servers=http://127.0.0.1:{}",
                self.etcd_port
            ))
            .arg(format!("--cert-dir={}", path("certificates")))
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--bind-address={}", Ipv4Addr::LOCALHOST))
            // Without `--advertise-address`, the API server looks for the default route, which the test run's private
            // network does not have.
            .arg(format!("--advertise-address={MACHINE}"))
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(format!(
                "--service-account-key-file={}",
                path("accounts.pub")
            ))
            .arg(format!(
                "--service-account-signing-key-file={}",
                path("accounts.key")
            ))
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            .arg(&self.authorization)
            .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition")
            .arg(format!("--token-auth-file={}", path("tokens.csv")))
            .arg(format!("--audit-policy-file={}", path("audit.json")))
            .arg(format!("--audit-log-path={}", path("audit.log")));
        let server = start(self.folder.path(), "kube-apiserver", server);
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        let api = Api::new(&self.url(), ADMIN);
        eventually("a ready API server", STARTS_WITHIN, || {
            let ready = api.get("/apis/apps/v1/deployments").is_ok();
            // The API server writes the default RBAC roles after it has opened its port, so the test waits for them.
            let roles = api
                .get("/apis/rbac.authorization.k8s.io/v1/clusterroles/cluster-admin")
                .is_ok();
            let space = api.get("/api/v1/namespaces/default").is_ok();
            (ready && roles && space).then_some(())
        });
    }

    fn start_the_rest(&mut self) {
        let kubeconfig = self.folder.path().join("kubeconfig");
        fs::write(&kubeconfig, Api::new(&self.url(), ADMIN).kubeconfig()).expect("write");
        let config = format!("--kubeconfig={}", kubeconfig.display());
        let common = [&*config, "--leader-elect=false", "--secure-port=0"];
        let mut manager = Command::new(self.programs.join("kube-controller-manager"));
        manager
            .args(common)
            .arg(format!("--service-account-private-key-file={}", self.folder.path().join("accounts.key").display()))
            // Only the controllers that tests need: each further controller costs start-up time and memory.
            .arg("--controllers=deployment-controller,replicaset-controller,statefulset-controller,namespace-controller,garbage-collector-controller,serviceaccount-controller,clusterrole-aggregation-controller,endpointslice-controller")
            // Each controller handles several objects at once, because tests create and delete objects within seconds.
            .args(["--concurrent-deployment-syncs=5", "--concurrent-replicaset-syncs=5"]);
        let mut scheduler = Command::new(self.programs.join("kube-scheduler"));
        scheduler.args(common);
        for (name, command) in [
            ("kube-controller-manager", manager),
            ("kube-scheduler", scheduler),
        ] {
            self.rest.push(start(self.folder.path(), name, command));
        }
    }

    /// Returns a component's log, for the message of a failed test.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default()
    }
}

fn start(folder: &Path, name: &str, mut command: Command) -> Process {
    let log = fs::File::create(folder.join(format!("{name}.log"))).expect("a log file");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    start_process(command)
}

/// Returns the audit policy: it records the metadata of all requests of Ebb's service accounts.
fn audited() -> Value {
    let accounts = ["ebb-agent", "ebb-autoscaler", "ebb-activator"]
        .map(|account| format!("system:serviceaccount:{SYSTEM}:{account}"));
    json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": accounts}, {"level": "None"}],
    })
}

/// Creates the key pair for service-account tokens.
fn keys(folder: &Path) {
    let key = rcgen::KeyPair::generate().expect("a key pair");
    fs::write(folder.join("accounts.key"), key.serialize_pem()).expect("write");
    fs::write(folder.join("accounts.pub"), key.public_key_pem()).expect("write");
}
