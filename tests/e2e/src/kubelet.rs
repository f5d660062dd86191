//! Nodes whose pods are processes.
//!
//! Each pod bound to one of these nodes runs as an `ebb-sample` process in its own cgroup, and is ready when the
//! process listens. A deleted pod is removed from the endpoints first, gets SIGTERM 300 ms later, and is removed from
//! the API server when its process has ended, as with a real kubelet and a Service.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ebb_fixtures::net::private as network;
use ebb_fixtures::server::Stats;
use ebb_fixtures::{Process, Wire, poll, program};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api as KubeApi, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;

use super::api::{Api, path};
use super::cgroup::Tree;
use super::{SYSTEM, runtime, server_port, start_process};

/// Label of the nodes whose pods are processes. If the cluster has other nodes too, pods that must run as processes
/// have a `nodeSelector` with this label.
pub const LABEL: &str = "test/processes";
/// Pod annotation: the time that the pod's server takes to start, such as `2s`.
pub const START_DELAY: &str = "test/start-delay";

/// Time from a pod's removal from the endpoints to its SIGTERM. In this time, kube-proxy applies the removal.
const LEAVES: Duration = Duration::from_millis(300);

/// Time limit for the removal of the pods' cgroups. The removal takes milliseconds after the processes have ended; the
/// limit allows for a loaded machine.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

/// The running nodes and their pods.
pub struct Kubelet {
    shared: Arc<Shared>,
    nodes: Vec<String>,
    task: JoinHandle<()>,
    tree: Option<Arc<Tree>>,
}

struct Shared {
    pods: Mutex<HashMap<String, RunningPod>>,
}

/// A running pod.
#[derive(Debug, Clone)]
pub struct RunningPod {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub uid: String,
    /// The value of the pod's label `app`.
    pub app: String,
    /// The pod's node.
    pub node: String,
    /// The address on which the pod's server listens.
    pub address: SocketAddr,
    /// Whether the pod is in the endpoints.
    pub serving: bool,
    ending: bool,
    container: PathBuf,
    process: Arc<Mutex<Process>>,
}

impl RunningPod {
    /// Returns the number of requests that the server has begun, by the server's own count. The count excludes the
    /// request for `/stats` that this method sends.
    ///
    /// # Panics
    /// If the server does not answer.
    #[must_use]
    #[track_caller]
    pub fn requests(&self) -> u64 {
        let mut wire = Wire::connect(self.address);
        wire.get("/stats", "Connection: close\r\n");
        let (_, body) = wire.response_with_body();
        let stats: Stats = serde_json::from_slice(&body).expect("a server's counts");
        stats.requests
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, HashMap<String, RunningPod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kubelet {
    /// Registers nodes and runs their pods.
    ///
    /// # Panics
    /// If the API server refuses the request.
    #[must_use]
    pub fn start(api: &Api, nodes: &[&str]) -> Self {
        for node in nodes {
            let labels = json!({LABEL: "true"});
            api.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}));
            let room = json!({"pods": "500", "cpu": "64", "memory": "256Gi"});
            let status = json!({"status": {"capacity": room, "allocatable": room}});
            let path = format!("{}/status", path("v1", "Node", "", node));
            api.merge(&path, &status)
                .unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        }
        let shared = Arc::new(Shared {
            pods: Mutex::default(),
        });
        let tree = Arc::new(Tree::new());
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let work = work(
            api.clone(),
            nodes.clone(),
            Arc::clone(&shared),
            Arc::clone(&tree),
        );
        Self {
            shared,
            nodes,
            task: runtime().spawn(work),
            tree: Some(tree),
        }
    }

    /// Returns the folder that the nodes use as the root of the cgroup v2 mount.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn cgroup_root(&self) -> PathBuf {
        self.tree
            .as_ref()
            .expect("there until dropped")
            .root()
            .to_owned()
    }

    /// The nodes' names.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// All running pods.
    #[must_use]
    pub fn pods(&self) -> Vec<RunningPod> {
        self.shared.pods().values().cloned().collect()
    }

    /// Returns a function that lists the running pods.
    pub fn watcher(&self) -> impl Fn() -> Vec<RunningPod> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.pods().values().cloned().collect()
    }

    /// Returns a function that lists the current endpoints of `app`, sorted.
    pub fn endpoints(
        &self,
        namespace: &str,
        app: &str,
    ) -> impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static {
        let (shared, namespace, app) = (
            Arc::clone(&self.shared),
            namespace.to_owned(),
            app.to_owned(),
        );
        move || {
            let pods = shared.pods();
            let ours = pods
                .values()
                .filter(|pod| pod.serving && pod.namespace == namespace && pod.app == app);
            let mut addresses: Vec<_> = ours.map(|pod| pod.address).collect();
            addresses.sort();
            addresses
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
        // Waits until the task that runs the nodes has ended. Its background tasks have then ended too, so no further
        // pod is started.
        runtime().block_on(&mut self.task).ok();
        // Dropping the pods kills their processes, so that the cgroup tree can be removed.
        self.shared.pods().clear();
        if let Some(tree) = self.tree.take() {
            // Threads that remove a container's cgroup hold references to the tree. Wait until they have finished.
            poll(ENDS_WITHIN, || {
                (Arc::strong_count(&tree) == 1).then_some(())
            });
        }
    }
}

async fn work(api: Api, nodes: Vec<String>, shared: Arc<Shared>, tree: Arc<Tree>) {
    let pods: KubeApi<Pod> = KubeApi::all(api.client());
    let changes = watcher(pods, watcher::Config::default()).default_backoff();
    pin_mut!(changes);
    // Tasks that start and end pods; they are aborted when this function ends.
    let mut beside = JoinSet::new();
    while let Some(change) = changes.next().await {
        while beside.try_join_next().is_some() {}
        match change {
            Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                let on_our_nodes = pod
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.node_name.as_ref())
                    .is_some_and(|node| nodes.contains(node));
                // Pods of Ebb's own programs are skipped, because the tests start these programs themselves.
                if !on_our_nodes || pod.namespace().as_deref() == Some(SYSTEM) {
                    continue;
                }
                let uid = pod.uid().unwrap_or_default();
                let runs = shared.pods().get(&uid).cloned();
                match (runs, pod.metadata.deletion_timestamp.is_some()) {
                    (None, false) => {
                        beside.spawn(begin(&api, &pod, &shared, &tree));
                    }
                    (Some(running), true) if !running.ending => {
                        if let Some(pod) = shared.pods().get_mut(&uid) {
                            (pod.serving, pod.ending) = (false, true);
                        }
                        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
                        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
                        beside.spawn(end(
                            api.clone(),
                            running,
                            grace,
                            Arc::clone(&shared),
                            Arc::clone(&tree),
                        ));
                    }
                    (None, true) => {
                        beside.spawn(forget(
                            api.clone(),
                            pod.namespace().unwrap_or_default(),
                            pod.name_any(),
                        ));
                    }
                    _ => {}
                }
            }
            Ok(watcher::Event::Delete(pod)) => {
                let running = shared.pods().remove(&pod.uid().unwrap_or_default());
                if let Some(running) = running {
                    let tree = Arc::clone(&tree);
                    tokio::task::spawn_blocking(move || tree.remove(&running.container));
                }
            }
            _ => {}
        }
    }
}

/// Starts a pod's process. The returned future waits until the process listens, and reports the pod's status.
fn begin(
    api: &Api,
    pod: &Pod,
    shared: &Arc<Shared>,
    tree: &Tree,
) -> impl Future<Output = ()> + Send + use<> {
    let uid = pod.uid().unwrap_or_default();
    let (container, id) = tree.container(&uid);
    let address = match network::address() {
        Some(own) => SocketAddr::new(own, network::PORT),
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, server_port())),
    };
    let delay = pod.annotations().get(START_DELAY).map_or("0s", |it| it);
    let mut command = Command::new("sh");
    // The shell moves itself into the pod's cgroup before it executes the server, so that all sockets of the server are
    // in this cgroup.
    command
        .args(["-c", "echo 0 > \"$0\"; exec \"$@\""])
        .arg(container.join("cgroup.procs"))
        .arg(program("ebb-sample"))
        .args(["--address", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--start-delay", delay])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let process = start_process(command);
    let running = RunningPod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: uid.clone(),
        app: pod.labels().get("app").cloned().unwrap_or_default(),
        node: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone())
            .unwrap_or_default(),
        address,
        serving: false,
        ending: false,
        container,
        process: Arc::new(Mutex::new(process)),
    };
    shared.pods().insert(uid.clone(), running.clone());
    let (api, shared) = (api.clone(), Arc::clone(shared));
    async move {
        // The pod is first reported as running and not ready. From this report on, an agent can find the pod and count
        // its requests.
        report(&api, &running, &id, false).await;
        while TcpStream::connect(address).is_err() {
            time::sleep(Duration::from_millis(5)).await;
            if shared.pods().get(&uid).is_none_or(|pod| pod.ending) {
                return;
            }
        }
        match shared.pods().get_mut(&uid) {
            Some(pod) if !pod.ending => pod.serving = true,
            _ => return,
        }
        report(&api, &running, &id, true).await;
    }
}

/// Writes a pod's status. Retries while the API server is unreachable or reports a conflict.
async fn report(api: &Api, pod: &RunningPod, container: &str, ready: bool) {
    let now = k8s_openapi::jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let truth = if ready { "True" } else { "False" };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now});
    let status = json!({"status": {
        "phase": "Running", "startTime": now, "podIP": pod.address.ip(), "podIPs": [{"ip": pod.address.ip()}],
        "conditions": [condition("PodScheduled", "True"), condition("Initialized", "True"),
            condition("ContainersReady", truth), condition("Ready", truth)],
        "containerStatuses": [{
            "name": "app", "image": "ebb-sample", "imageID": "", "restartCount": 0, "ready": ready, "started": true,
            "containerID": format!("containerd://{container}"), "state": {"running": {"startedAt": now}},
        }],
    }});
    let path = format!("{}/status", path("v1", "Pod", &pod.namespace, &pod.name));
    persist(api.clone(), "PATCH", path, status).await;
}

async fn end(api: Api, pod: RunningPod, grace: Duration, shared: Arc<Shared>, tree: Arc<Tree>) {
    time::sleep(LEAVES).await;
    let pid = pod
        .process
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pid();
    let pid = Pid::from_raw(pid.cast_signed());
    kill(pid, Signal::SIGTERM).ok();
    let over = time::Instant::now() + grace;
    loop {
        if has_ended(pid) {
            break;
        }
        if time::Instant::now() >= over {
            kill(pid, Signal::SIGKILL).ok();
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    let container = pod.container.clone();
    tokio::task::spawn_blocking(move || tree.remove(&container))
        .await
        .ok();
    shared.pods().remove(&pod.uid);
    forget(api, pod.namespace, pod.name).await;
}

/// Returns whether a child process has ended. An ended child is a zombie until its [`Process`] is dropped.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // proc(5): the state follows the command name, which is in parentheses. The name may contain any character, so it
    // ends at the last closing parenthesis.
    stat.rsplit(") ")
        .next()
        .is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

async fn forget(api: Api, namespace: String, name: String) {
    persist(
        api,
        "DELETE",
        path("v1", "Pod", &namespace, &name),
        json!({"gracePeriodSeconds": 0}),
    )
    .await;
}

/// Sends a request, and repeats it while the API server is unreachable or reports a conflict.
async fn persist(api: Api, method: &'static str, path: String, body: Value) {
    let kind = if method == "PATCH" {
        "application/merge-patch+json"
    } else {
        "application/json"
    };
    loop {
        let (api, path, body) = (api.clone(), path.clone(), body.clone());
        let asked = tokio::task::spawn_blocking(move || api.ask(method, &path, kind, &body)).await;
        match asked {
            Ok(Err(refused)) if refused.code == 0 || refused.code == 409 => {
                time::sleep(Duration::from_millis(200)).await
            }
            // 404 is no error: the object has been deleted already.
            Ok(Err(refused)) if refused.code != 404 => {
                eprintln!("the API server refused a write of the test's kubelet: {refused:?}");
                return;
            }
            _ => return,
        }
    }
}
