//! The agents of a cluster's nodes: `ebb-agent`, or a stand-in agent if eBPF programs cannot be loaded.

mod real;
mod stand_in;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ebb_fixtures::{Need, Process, Signal, Wire, program};
use serde_json::json;
use tokio::task::JoinHandle;

use self::real::Real;
use self::stand_in::StandIn;
use super::api::{Api, path};
use super::kubelet::Kubelet;
use super::report::trust;
use super::{Autoscaler, Cluster, SYSTEM, runtime};

/// The agent of one node.
pub struct Agent {
    node: String,
    /// The method to start the agent, for the first start and for each restart.
    begin: AgentStart,
    kind: Mutex<Option<Kind>>,
}

enum AgentStart {
    Real(Real),
    StandIn(Box<dyn Fn() -> JoinHandle<()> + Send + Sync>),
}

enum Kind {
    Real(Process),
    StandIn(JoinHandle<()>),
}

/// Checks whether this machine can run `ebb-agent`.
///
/// # Errors The reason why the tests use a stand-in agent instead of `ebb-agent`.
pub fn is_real() -> Result<(), String> {
    if std::env::var("EBB_TEST_AGENT").as_deref() == Ok("stand-in") {
        return Err("EBB_TEST_AGENT=stand-in".to_owned());
    }
    if !program("ebb-agent").exists() {
        return Err("ebb-agent is not built".to_owned());
    }
    Need::Kernel.check()
}

/// Creates the agent's pod on a node and returns a token bound to the pod.
///
/// # Panics
/// If the API server refuses the request.
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
    api.token(
        SYSTEM,
        "ebb-agent",
        Some(ebb_contract::AUDIENCE),
        Some(&pod),
    )
}

impl Agent {
    /// Starts the agent of a node. The agent reports to all autoscaler replicas in `replicas`.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(
        cluster: &Cluster,
        kubelet: &Kubelet,
        node: &str,
        replicas: &[&Autoscaler],
    ) -> Self {
        if is_real().is_ok() {
            return Self::start_by(&[], cluster, kubelet, node, replicas);
        }
        let token = agent_token(cluster.api(), node);
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.reports()).collect();
        let trust = trust(cluster.api());
        let pods = Arc::new(kubelet.watcher());
        let name = node.to_owned();
        let begin = AgentStart::StandIn(Box::new(move || {
            let (node, token) = (name.clone(), token.clone());
            let stand_in = StandIn::new(node, token, Arc::clone(&trust), addresses.clone());
            let pods = Arc::clone(&pods);
            runtime().spawn(stand_in.run(move || pods()))
        }));
        Self::new(node, begin)
    }

    /// Starts `ebb-agent` through a wrapper program. `wrapper` is the program and its arguments; the agent's command
    /// line is appended to them.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start_by(
        wrapper: &[&str],
        cluster: &Cluster,
        kubelet: &Kubelet,
        node: &str,
        replicas: &[&Autoscaler],
    ) -> Self {
        let mut urls: Vec<_> = replicas.iter().map(|replica| replica.url()).collect();
        // Replicas that share a host name have the same URL, which the agent must get only once.
        urls.dedup();
        let cgroups = kubelet.cgroup_root();
        let real = Real::new(wrapper, cluster, &cgroups, node, &urls);
        Self::new(node, AgentStart::Real(real))
    }

    fn new(node: &str, begin: AgentStart) -> Self {
        let this = Self {
            node: node.to_owned(),
            begin,
            kind: Mutex::default(),
        };
        this.restart();
        this
    }

    /// The agent's node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Makes the agent silent, as if its node were cut off from the network. `ebb-agent` is stopped with SIGSTOP and
    /// keeps its state. A stand-in agent is ended.
    pub fn silence(&self) {
        match &*self.kind() {
            Some(Kind::Real(process)) => process.signal(Signal::SIGSTOP),
            Some(Kind::StandIn(task)) => task.abort(),
            None => {}
        }
    }

    /// Kills the agent, as `kill -9` would, and starts it again.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn restart(&self) {
        self.kill();
        let kind = match &self.begin {
            AgentStart::Real(real) => Kind::Real(real.start()),
            AgentStart::StandIn(start) => Kind::StandIn(start()),
        };
        *self.kind() = Some(kind);
    }

    /// Kills the agent, as `kill -9` would.
    pub fn kill(&self) {
        match self.kind().take() {
            Some(Kind::StandIn(task)) => task.abort(),
            // Dropping the process kills it and waits for it.
            Some(Kind::Real(_)) | None => {}
        }
    }

    /// Requests a path on the agent's status port. Returns the status code and the body; `None` if the agent accepts no
    /// connection, or for a stand-in agent, which has no status port.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let AgentStart::Real(real) = &self.begin else {
            return None;
        };
        let address = real.status();
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        let mut wire = Wire::connect(address);
        wire.get(path, "Connection: close\r\n");
        let (status, body) = wire.response_with_body();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The address of the agent's status port; `None` for a stand-in agent, which has no status port.
    #[must_use]
    pub fn status(&self) -> Option<std::net::SocketAddr> {
        match &self.begin {
            AgentStart::Real(real) => Some(real.status()),
            AgentStart::StandIn(_) => None,
        }
    }

    /// The folder of the agent's BPF pins; `None` for a stand-in agent, or if no bpffs is mounted.
    #[must_use]
    pub fn pins(&self) -> Option<&std::path::Path> {
        match &self.begin {
            AgentStart::Real(real) => real.pins(),
            AgentStart::StandIn(_) => None,
        }
    }

    /// Resumes `ebb-agent` after [`Self::silence`]. A stand-in agent does not report again, because [`Self::silence`]
    /// has ended it.
    pub fn wake(&self) {
        if let Some(Kind::Real(process)) = &*self.kind() {
            process.signal(Signal::SIGCONT);
        }
    }

    /// The agent's process id; `None` for a stand-in agent, which is no process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &*self.kind() {
            Some(Kind::Real(process)) => Some(process.pid()),
            _ => None,
        }
    }

    /// The agent's log so far; empty for a stand-in agent, which writes no log.
    #[must_use]
    pub fn log(&self) -> String {
        match &self.begin {
            AgentStart::Real(real) => real.log(),
            AgentStart::StandIn(_) => String::new(),
        }
    }

    fn kind(&self) -> MutexGuard<'_, Option<Kind>> {
        self.kind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("log of the agent on node {}:\n{}", self.node, self.log());
        }
    }
}
