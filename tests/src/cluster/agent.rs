//! The agents of a cluster's nodes: `ebb-agent`, or a stand-in where kernel programs cannot be loaded.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_report::{Pod, Report};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time;
use tokio_rustls::rustls::ClientConfig;

use super::api::{Api, path};
use super::kubelet::{Kubelet, RunningPod};
use super::report::{Line, authority, trust};
use super::{Autoscaler, SYSTEM, runtime, start_process};
use crate::harness::{Process, Signal, free_port, program};

/// The agent of one node.
pub struct Agent {
    node: String,
    kind: Kind,
}

enum Kind {
    Real {
        process: Process,
        folder: tempfile::TempDir,
    },
    StandIn(JoinHandle<()>),
}

/// Whether this machine can run `ebb-agent`.
#[must_use]
pub fn is_real() -> bool {
    std::env::var("EBB_TEST_AGENT").as_deref() != Ok("stand-in")
        && program("ebb-agent").exists()
        && nix::unistd::geteuid().is_root()
}

/// Makes the pod an agent runs in on a node, which its token is bound to.
///
/// # Panics
/// The API server refuses.
#[must_use]
pub fn agent_token(api: &Api, node: &str) -> String {
    let name = format!("ebb-agent-{node}");
    let at = path("v1", "Pod", SYSTEM, &name);
    let pod = api.get(&at).unwrap_or_else(|_| {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": SYSTEM},
            "spec": {"nodeName": node, "serviceAccountName": "ebb-agent", "containers": [{"name": "agent", "image": "ebb"}]},
        });
        api.create(&path("v1", "Pod", SYSTEM, ""), &pod).unwrap_or_else(|refused| panic!("{name}: {refused:?}"))
    });
    api.token(SYSTEM, "ebb-agent", Some(ebb_report::AUDIENCE), Some(&pod))
}

impl Agent {
    /// Starts the agent of a node; it reports to all these replicas.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(api: &Api, kubelet: &Kubelet, node: &str, replicas: &[&Autoscaler]) -> Self {
        let token = agent_token(api, node);
        let kind = if is_real() {
            Self::real(api, kubelet, node, replicas, &token)
        } else {
            let ports = replicas
                .iter()
                .map(|replica| replica.report_port())
                .collect();
            let stand_in = StandIn {
                node: node.to_owned(),
                token,
                trust: trust(api),
                ports,
                start: Instant::now(),
                lines: HashMap::new(),
            };
            let pods = kubelet.watcher();
            Kind::StandIn(runtime().spawn(stand_in.run(pods)))
        };
        Self {
            node: node.to_owned(),
            kind,
        }
    }

    fn real(
        api: &Api,
        kubelet: &Kubelet,
        node: &str,
        replicas: &[&Autoscaler],
        token: &str,
    ) -> Kind {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("write");
            path
        };
        let pins = folder.path().join("pins");
        fs::create_dir(&pins).expect("a folder");
        let mut command = Command::new(program("ebb-agent"));
        command
            .env("KUBECONFIG", file("kubeconfig", &api.kubeconfig()))
            .args([
                "--node",
                node,
                "--status-address",
                &format!("127.0.0.1:{}", free_port()),
            ])
            .arg("--autoscaler-ca")
            .arg(file("ca.crt", &authority(api)))
            .arg("--token-file")
            .arg(file("token", token))
            .arg("--cgroup-root")
            .arg(kubelet.cgroup_root());
        for replica in replicas {
            command.args(["--autoscaler", &replica.url()]);
        }
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Kind::Real {
            process: start_process(command),
            folder,
        }
    }

    /// It falls silent: killed, as by a node that is gone.
    pub fn silence(&mut self) {
        match &self.kind {
            Kind::Real { process, .. } => process.signal(Signal::SIGSTOP),
            Kind::StandIn(task) => task.abort(),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        match &self.kind {
            Kind::Real { folder, .. } if std::thread::panicking() => {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                eprintln!("log of the agent of {}:\n{log}", self.node);
            }
            Kind::Real { .. } => {}
            Kind::StandIn(task) => task.abort(),
        }
    }
}

/// Reports what the servers count themselves.
struct StandIn {
    node: String,
    token: String,
    trust: Arc<ClientConfig>,
    ports: Vec<u16>,
    start: Instant,
    lines: HashMap<u16, Line>,
}

/// What this node's clock shows when the stand-in starts, ns: pods may be older.
const EPOCH: u64 = 1_000_000_000_000;
/// Ten times as often as the agent: it has no kernel to wake it when a burst begins.
const TICK: Duration = Duration::from_millis(100);

impl StandIn {
    async fn run(mut self, pods: impl Fn() -> Vec<RunningPod> + Send + Sync + 'static) {
        // When each server started, by the clock of this node.
        let mut started: HashMap<String, u64> = HashMap::new();
        let mut tick = time::interval(TICK);
        loop {
            tick.tick().await;
            let mut report = Report {
                node: self.node.clone(),
                boot: format!("stand-in {:?}", self.start),
                pods: Vec::new(),
            };
            for pod in pods().into_iter().filter(|pod| pod.node == self.node) {
                if let Some(stats) = stats(pod.address).await {
                    let now = self.start.elapsed().as_nanos() as u64;
                    // Its integral is by its own clock, so that is read on.
                    let age = (stats.at * 1e9) as u64;
                    let since = *started
                        .entry(pod.uid.clone())
                        .or_insert((EPOCH + now).saturating_sub(age));
                    report.pods.push(Pod {
                        uid: pod.uid,
                        since,
                        at: since + age,
                        integral: (stats.integral * 1e9) as u64,
                        in_flight: stats.in_flight,
                        started: stats.requests,
                        ..Pod::default()
                    });
                }
            }
            for port in self.ports.clone() {
                // What cannot be said now is said the next time.
                let _ = self.tell(port, &report).await;
            }
        }
    }

    async fn tell(&mut self, port: u16, report: &Report) -> Result<(), String> {
        let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut line = match self.lines.remove(&port) {
            Some(line) => line,
            None => Line::connect(Arc::clone(&self.trust), from, port)
                .await
                .map_err(|error| error.to_string())?,
        };
        line.report(&self.token, report).await?;
        self.lines.insert(port, line);
        Ok(())
    }
}

/// A server's own counts; `None` where it does not answer.
async fn stats(address: SocketAddr) -> Option<crate::harness::server::Stats> {
    let asked = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        tokio::spawn(connection);
        let request = hyper::Request::get("/stats")
            .header("host", "pod")
            .body(Empty::<Bytes>::new())
            .ok()?;
        let answer = sender.send_request(request).await.ok()?;
        serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
    };
    time::timeout(Duration::from_secs(1), asked).await.ok()?
}
