//! A cluster of processes for end-to-end tests: an API server, nodes whose pods are processes, and Ebb's programs.
//!
//! One interface has two back ends: a real control plane if its programs are found, otherwise an API server double in
//! this process. Every test must pass on both. A test that needs a real control plane declares this in its needs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "fixtures panic on an error, so that a failed test has a backtrace"
)]

mod activator;
pub mod agent;
mod allotment;
mod alone;
pub mod api;
mod autoscaler;
pub mod bpffs;
pub mod cgroup;
pub mod control_plane;
mod expired;
pub mod faults;
mod follow;
pub mod hosts;
pub mod kubelet;
pub mod manifests;
pub mod priority;
mod proxy;
pub mod report;
mod scales;
pub mod simulated;
pub mod traffic;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use ebb_api_double::Double;
use ebb_fixtures::{Process, control_plane};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub use self::activator::{
    ACCOUNT, Activator, install as install_activator, token as activator_token,
};
pub use self::alone::LoneActivator;
pub use self::api::Api;
use self::api::path;
pub use self::autoscaler::{Autoscaler, Location};
use self::control_plane::ControlPlane;
pub use self::faults::{ApiWay, Mode};
pub use self::kubelet::Kubelet;
pub use self::proxy::{Endpoints, Proxy};
pub use self::scales::Scales;
pub use self::simulated::Simulated;
pub use self::traffic::Traffic;

/// The namespace of the autoscaler and its agents.
pub const SYSTEM: &str = "ebb-system";
/// Time limit for any expected change in a cluster. It allows for the start of pods, the autoscaler's decision interval
/// of two seconds, and a loaded machine.
pub const SOON: Duration = Duration::from_secs(60);

/// Returns the Tokio runtime that all fixtures share.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    });
    &RUNTIME
}

/// Starts a process that runs until its handle is dropped, even if the test that started the process ends earlier. One
/// separate thread starts all processes: the kernel kills a process when the thread that started it ends, and the test
/// runner's threads end before the clusters that tests share.
pub(crate) fn start_process(command: Command) -> Process {
    type Ask = (Command, mpsc::Sender<Process>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Ask>>> = LazyLock::new(|| {
        let (sender, asked) = mpsc::channel::<Ask>();
        thread::spawn(move || {
            for (command, answer) in asked {
                answer.send(Process::start(command, None)).ok();
            }
        });
        Mutex::new(sender)
    });
    let (answer, started) = mpsc::channel();
    let spawner = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    spawner
        .send((command, answer))
        .expect("the thread that starts processes is running");
    started.recv().expect("a process")
}

/// Returns a free port for a server, below the range of ephemeral ports. Thousands of client connections are opened
/// while servers start, and one of them could take an ephemeral port before the server binds it.
pub(crate) fn server_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const PORTS: u16 = 20_000;
    // Concurrent test runs begin the search at different ports, so that they rarely choose the same port.
    let begin = std::process::id().wrapping_mul(97) % u32::from(PORTS);
    loop {
        let next = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + ((begin + next) % u32::from(PORTS)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Starts an API server double on the fixtures' runtime, at a free port.
fn double() -> Double {
    Double::new(runtime().handle(), double_address())
}

/// Like [`double`], but without controllers: for tests with more objects than the double's simple controllers can
/// handle, and for tests that write the controllers' objects themselves.
fn double_without_controllers() -> Double {
    Double::without_controllers(runtime().handle(), double_address())
}

fn double_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, server_port()))
}

/// The API server of a cluster: a real one or a double.
#[derive(Debug)]
enum BackEnd {
    Real(Box<ControlPlane>),
    Double(Double),
}

/// An API server with all objects of Ebb's manifest, but with none of Ebb's programs running.
pub struct Cluster {
    back_end: BackEnd,
    api: Api,
}

/// Returns the tests' back end: `real` or `double`. `EBB_TEST_CLUSTER=double` selects the double even if the programs
/// of a real control plane are found.
#[must_use]
pub fn back_end() -> &'static str {
    match (
        std::env::var("EBB_TEST_CLUSTER").as_deref(),
        control_plane(),
    ) {
        (Ok("double"), _) | (_, None) => "double",
        _ => "real",
    }
}

impl Cluster {
    /// # Panics
    /// If the API server does not start.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "`new` starts servers, so the type must not implement `Default`"
    )]
    pub fn new() -> Self {
        let back_end = match control_plane().filter(|_| back_end() == "real") {
            Some(programs) => BackEnd::Real(Box::new(ControlPlane::start(programs))),
            None => BackEnd::Double(double()),
        };
        Self::on(back_end)
    }

    /// Starts a cluster on the double, even if a real control plane is found: for tests that do not examine the API
    /// server.
    #[must_use]
    pub fn double() -> Self {
        Self::on(BackEnd::Double(double()))
    }

    /// Starts a cluster on a double without controllers, and creates these objects in it.
    ///
    /// # Panics
    /// If an object's kind is unknown, or two objects have the same name.
    #[must_use]
    pub fn large(objects: impl IntoIterator<Item = Value>) -> Self {
        let double = double_without_controllers();
        double.seed(objects);
        Self::on(BackEnd::Double(double))
    }

    /// Starts a real control plane whose API server uses this authorization configuration file.
    ///
    /// # Panics
    /// If the programs of a real control plane are not found, or the control plane does not start.
    #[must_use]
    pub fn with_authorization(file: &Path) -> Self {
        let programs = control_plane().expect("it is asked for");
        let real = ControlPlane::with_authorization(programs, file);
        Self::on(BackEnd::Real(Box::new(real)))
    }

    /// Returns a client of this cluster's API server that uses `token`.
    #[must_use]
    pub fn api_with(&self, token: &str) -> Api {
        match &self.back_end {
            BackEnd::Real(real) => Api::new(&real.url(), token),
            BackEnd::Double(double) => Api::new(&double.url(), token),
        }
    }

    fn on(back_end: BackEnd) -> Self {
        let api = match &back_end {
            BackEnd::Real(real) => Api::new(&real.url(), real.admin_token()),
            BackEnd::Double(double) => Api::new(&double.url(), double.admin_token()),
        };
        let this = Self { back_end, api };
        this.namespace(SYSTEM);
        for object in manifests::objects(manifests::RENDERED) {
            this.api.apply(&object);
        }
        if let BackEnd::Real(_) = this.back_end {
            // A controller aggregates the rules of this ClusterRole. Before the aggregation, the API server would
            // refuse the autoscaler's requests, and the retries would take seconds.
            let role = path(
                "rbac.authorization.k8s.io/v1",
                "ClusterRole",
                "",
                "ebb-autoscaler-scales",
            );
            this.api
                .await_object("the role summed up", SOON, &role, |role| {
                    role["rules"]
                        .as_array()
                        .is_some_and(|rules| rules.len() >= 4)
                        .then_some(())
                });
        }
        this.api.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "somebody", "namespace": SYSTEM},
        }));
        this
    }

    /// Returns the API client that uses the administrator's token.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns an API client that uses a token of this service account in [`SYSTEM`].
    #[must_use]
    pub fn api_as(&self, account: &str) -> Api {
        self.api_with(&self.api.token(SYSTEM, account, None, None))
    }

    /// Returns an expired token that otherwise equals the valid token `good` of the same account and pod.
    ///
    /// # Panics
    /// If the API server issues no token.
    #[must_use]
    pub fn expired(&self, account: &str, pod: &Value, good: &str) -> String {
        match &self.back_end {
            BackEnd::Real(real) => real.expired(good),
            BackEnd::Double(_) => {
                let audience = Some(ebb_contract::AUDIENCE);
                self.api.token_for(0, SYSTEM, account, audience, Some(pod))
            }
        }
    }

    /// Returns the requests that Ebb's service accounts have sent so far, from the API server's audit log.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        match &self.back_end {
            BackEnd::Real(real) => real.audit(),
            BackEnd::Double(double) => double.audit(),
        }
    }

    /// The API server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.back_end {
            BackEnd::Real(real) => real.url(),
            BackEnd::Double(double) => double.url(),
        }
    }

    /// Returns the double, or `None` on a real control plane: for behaviour that only the double can produce.
    #[must_use]
    pub fn as_double(&self) -> Option<&Double> {
        match &self.back_end {
            BackEnd::Double(double) => Some(double),
            BackEnd::Real(_) => None,
        }
    }

    /// Creates a namespace.
    pub fn namespace(&self, name: &str) {
        self.api
            .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    }

    /// Stops the API server; its data is kept.
    pub fn go_away(&self) {
        match &self.back_end {
            BackEnd::Real(real) => real.go_away(),
            BackEnd::Double(double) => double.go_away(),
        }
    }

    /// Starts the API server again, with the same data.
    pub fn come_up(&self) {
        match &self.back_end {
            BackEnd::Real(real) => real.come_up(),
            BackEnd::Double(double) => double.come_up(),
        }
    }
}

/// Returns a Deployment whose pods a [`Kubelet`] runs as processes.
#[must_use]
pub fn deployment(namespace: &str, name: &str, replicas: u32, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": annotations},
                "spec": {"containers": [{"name": "app", "image": "ebb-sample", "resources": {"requests": {"cpu": "1m"}}}], "terminationGracePeriodSeconds": 30},
            },
        },
    })
}

/// Returns the annotation that opts a workload in to Ebb, plus the annotations in `more`.
#[must_use]
pub fn opted_in(more: &[(&str, &str)]) -> Value {
    let mut annotations = json!({"autoscaling.knative.dev/class": "ebb.dev"});
    for (key, value) in more {
        annotations[*key] = (*value).into();
    }
    annotations
}

/// Runs a future to its end on the fixtures' runtime, and returns its output.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}
