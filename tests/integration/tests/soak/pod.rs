//! One server of the soak in its own cgroup, and its clients.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use ebb_fixtures::server::{Nginx, Program, RealServer, Setup};
use ebb_fixtures::{Certificate, Dialogue, Signal, TestCgroup, python};
use tempfile::TempDir;

use super::log::{Log, Logged};
use super::restart::Restart;
use super::tally::Tally;
use crate::exact::CLIENT;

/// The files of the clients, in addition to those of `exact::servers`. The first one is the program.
const FILES: &[(&str, &str)] = &[
    ("soak.py", include_str!("client/soak.py")),
    ("http1_traffic.py", include_str!("client/http1_traffic.py")),
    ("http1_unusual.py", include_str!("client/http1_unusual.py")),
    ("http2_traffic.py", include_str!("client/http2_traffic.py")),
    ("http2_unusual.py", include_str!("client/http2_unusual.py")),
    ("tally.py", include_str!("client/tally.py")),
    ("tls_traffic.py", include_str!("client/tls_traffic.py")),
    ("traffic.py", include_str!("client/traffic.py")),
];

/// A server, and what its clients do.
struct Plan {
    name: &'static str,
    /// `None`: an nginx with TLS.
    program: Option<Program>,
    /// What the server can do, as in `exact::servers`. `pipelines`: it answers all requests of a pipeline.
    /// `request_trailers`: it accepts trailers on HTTP/2. `closes_idle`: it closes idle connections after a few seconds.
    /// `drops`: it can end a connection instead of answering a request.
    features: &'static str,
    /// The numbers of connections: HTTP/1, HTTP/2, TLS.
    connections: [u32; 3],
    restarts: &'static [Restart],
    /// True if the server writes the line of a request after its response. A killed server may not have written it.
    logs_at_end: bool,
}

/// The plans: 200 connections.
const PLANS: &[Plan] = &[
    Plan {
        name: "nginx",
        program: Some(Program::Nginx),
        features: "pipelines,chunked,close,ws,trailers,proxy",
        connections: [40, 16, 0],
        restarts: &[Restart::Reload, Restart::KillWorker],
        logs_at_end: true,
    },
    Plan {
        name: "haproxy",
        program: Some(Program::HaProxy),
        // HAProxy forwards over connections that it reuses. If the application has just closed such a connection, HAProxy
        // drops the client's connection, so that the client tries again.
        features: "pipelines,chunked,close,ws,early,trailers,request_trailers,proxy,drops",
        connections: [30, 14, 0],
        restarts: &[Restart::Stop, Restart::Kill],
        logs_at_end: true,
    },
    Plan {
        name: "node",
        program: Some(Program::Node),
        features: "pipelines,chunked,close,ws,early,trailers,closes_idle",
        connections: [35, 0, 0],
        restarts: &[Restart::Stop, Restart::Kill],
        logs_at_end: false,
    },
    Plan {
        name: "node http2",
        program: Some(Program::NodeHttp2),
        features: "trailers,request_trailers",
        connections: [0, 15, 0],
        restarts: &[Restart::Kill],
        logs_at_end: false,
    },
    Plan {
        name: "uvicorn",
        program: Some(Program::UvicornHttptools),
        features: "pipelines,chunked,closes_idle",
        connections: [25, 0, 0],
        restarts: &[Restart::Stop, Restart::Kill],
        logs_at_end: false,
    },
    Plan {
        name: "gunicorn",
        program: Some(Program::GunicornThreads),
        // Its threads leave a pipelined request unread until more bytes come.
        features: "chunked,closes_idle",
        connections: [20, 0, 0],
        restarts: &[Restart::Reload, Restart::KillWorker],
        logs_at_end: false,
    },
    Plan {
        name: "nginx TLS",
        program: None,
        features: "",
        connections: [0, 0, 5],
        restarts: &[],
        logs_at_end: false,
    },
];

/// A server and its clients. The clients are dropped first.
pub(super) struct Pod<'a> {
    plan: &'static Plan,
    clients: Dialogue,
    tally: Tally,
    log: Option<Log>,
    server: Option<RealServer>,
    _tls: Option<Nginx>,
    _folder: TempDir,
    cgroup: &'a TestCgroup,
    /// The restarts of the server since the last quiet point.
    disturbances: Vec<Restart>,
}

/// Creates a cgroup for each server.
pub(super) fn cgroups(root: &TestCgroup) -> Vec<TestCgroup> {
    (0..PLANS.len())
        .map(|number| root.child_named(&format!("pod{number}")))
        .collect()
}

/// Starts the servers and their clients.
pub(super) fn start(cgroups: &[TestCgroup], seed: u64) -> Vec<Pod<'_>> {
    (PLANS.iter().zip(cgroups))
        .map(|(plan, cgroup)| Pod::start(plan, cgroup, seed))
        .collect()
}

/// Gives a command to the clients of all servers, and waits until all have followed it.
pub(super) fn command(pods: &mut [Pod<'_>], command: &str) {
    for pod in &mut *pods {
        pod.clients.say(command);
    }
    for pod in pods {
        pod.hear();
    }
}

impl<'a> Pod<'a> {
    fn start(plan: &'static Plan, cgroup: &'a TestCgroup, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = plan
            .program
            .map(|program| RealServer::start(program, cgroup));
        let tls = server.is_none().then(|| tls(cgroup, &folder));
        let addresses = match (&server, &tls) {
            (Some(server), _) => server.addresses(),
            (None, Some(tls)) => [tls.address(); 3],
            (None, None) => unreachable!("each plan has a server"),
        };
        Self {
            plan,
            clients: start_clients(plan, &folder, addresses, seed),
            tally: Tally::default(),
            log: (server.as_ref()).map(|server| Log::new(server.folder().join("log"))),
            server,
            _tls: tls,
            _folder: folder,
            cgroup,
            disturbances: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.plan.name
    }

    pub(super) fn cgroup(&self) -> &TestCgroup {
        self.cgroup
    }

    /// Returns the clients' count at their last command.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Returns the server's own count. `None` if the server keeps no log.
    pub(super) fn logged(&mut self) -> Option<Logged> {
        self.log.as_mut().map(Log::logged)
    }

    /// Returns whether the server can end a connection instead of answering, also if it is not restarted.
    pub(super) fn drops(&self) -> bool {
        let mut features = self.plan.features.split(',');
        features.any(|feature| feature == "drops")
    }

    pub(super) fn logs_at_end(&self) -> bool {
        self.plan.logs_at_end
    }

    /// Gives a command to the clients, and waits until they have followed it.
    pub(super) fn command(&mut self, command: &str) {
        self.clients.say(command);
        self.hear();
    }

    fn hear(&mut self) {
        let line = self.clients.hear();
        self.tally = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }

    pub(super) fn restarts(&self) -> &'static [Restart] {
        self.plan.restarts
    }

    pub(super) fn server(&self) -> &RealServer {
        self.server
            .as_ref()
            .expect("a server that can be restarted")
    }

    pub(super) fn start_again(&mut self, signal: Signal, grace: Duration) {
        let server = self.server.as_mut();
        server
            .expect("a server that can be restarted")
            .restart(self.cgroup, signal, grace);
    }

    /// Records a restart of the server.
    pub(super) fn disturbed(&mut self, way: Restart) {
        self.disturbances.push(way);
    }

    /// Returns the restarts of the server since the last call.
    pub(super) fn disturbances(&mut self) -> Vec<Restart> {
        std::mem::take(&mut self.disturbances)
    }
}

/// Starts an nginx that accepts only TLS.
fn tls(cgroup: &TestCgroup, folder: &TempDir) -> Nginx {
    let Certificate { key, certificate } = Certificate::create(folder.path());
    let http = format!(
        "ssl_certificate {}; ssl_certificate_key {};",
        certificate.display(),
        key.display()
    );
    let setup = Setup {
        listen: "ssl",
        http: &http,
        ..Setup::default()
    };
    Nginx::set_up(cgroup, setup)
}

fn start_clients(plan: &Plan, folder: &TempDir, addresses: [SocketAddr; 3], seed: u64) -> Dialogue {
    for (name, text) in CLIENT.iter().chain(FILES) {
        fs::write(folder.path().join(name), text).expect("a file of the client");
    }
    let mut command = Command::new(python("socket").expect("python3"));
    command
        .arg(folder.path().join(FILES[0].0))
        .arg(addresses[0].ip().to_string())
        .args(addresses.map(|address| address.port().to_string()))
        .arg(plan.features)
        .args(plan.connections.map(|number| number.to_string()))
        .arg(format!("{seed}/{}", plan.name));
    Dialogue::start(command)
}
