//! `ebb-activator` in a cluster that consists of the API server double and an autoscaler that only receives reports.
//! The tests write the record of allocated ports and the EndpointSlices, as the leader would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::LoneActivator;
use ebb_e2e::api::path;
use ebb_fixtures::proxy::SOON;
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Case, Need, Signal, TestCgroup, Wire, eventually, note};
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "proxy::cluster_from_zero_and_out_of_the_path",
        &[Need::Cgroup],
        from_zero,
    ),
    Case::beside(
        "proxy::cluster_leaves_before_it_closes",
        &[Need::Cgroup],
        leaves,
    ),
];

/// Returns an EndpointSlice of Service `shop/web` with the `managed-by` label `manager`.
fn slice(name: &str, manager: &str, port: u16, endpoints: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| json!({"addresses": [address.ip().to_string()], "conditions": {"ready": true}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "namespace": "shop", "name": name,
            "labels": {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": manager},
            // "u" is the uid of the Service in the record of allocated ports.
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "u"}],
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

/// Receives the activator's reports, and keeps the last one.
struct Listener {
    address: SocketAddr,
    last: Arc<Mutex<Value>>,
}

impl Listener {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let last = Arc::new(Mutex::new(Value::Null));
        let kept = Arc::clone(&last);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, kept) = (stream.expect("a report"), Arc::clone(&kept));
                thread::spawn(move || take(stream, &kept));
            }
        });
        Self { address, last }
    }

    /// Waits for a report in which the only proxied Service port satisfies `wanted`.
    #[track_caller]
    fn await_port(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, SOON, || {
            let last = self.last.lock().expect("sound").clone();
            let port = last["ports"].get(0)?.clone();
            wanted(&port).then_some(port)
        })
    }
}

fn take(stream: TcpStream, last: &Mutex<Value>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("a whole report");
        *last.lock().expect("sound") = serde_json::from_slice(&body).expect("a report");
        let answered = stream
            .get_mut()
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        if answered.is_err() {
            return;
        }
    }
}

struct World {
    activator: LoneActivator,
    autoscaler: Listener,
}

impl World {
    /// Starts one activator with one Service that has no pods, and one port that is allocated to this Service.
    fn new() -> Self {
        let autoscaler = Listener::new();
        let world = Self {
            activator: LoneActivator::start("shop", autoscaler.address, &["--leave-within", "1s"]),
            autoscaler,
        };
        let port = world.activator.proxied.port();
        world.write(&slice("web-ebb", "ebb.dev", port, &[]));
        world
            .autoscaler
            .await_port("the port listens", |seen| seen["number"] == port);
        world
    }

    /// Creates or updates an EndpointSlice.
    fn write(&self, slice: &Value) {
        let name = slice["metadata"]["name"].as_str().expect("a name");
        let all = path("discovery.k8s.io/v1", "EndpointSlice", "shop", "");
        let one = format!("{all}/{name}");
        let api = &self.activator.api;
        if api.get(&one).is_ok() {
            api.merge(&one, slice).expect("written");
        } else {
            api.create(&all, slice).expect("written");
        }
    }

    fn pods(&self, pods: &[SocketAddr]) {
        let port = pods.first().map_or(1, SocketAddr::port);
        self.write(&slice(
            "web-x",
            "endpointslice-controller.k8s.io",
            port,
            pods,
        ));
    }

    fn metrics(&self) -> String {
        let mut wire = Wire::connect(self.activator.status);
        wire.get("/metrics", "");
        String::from_utf8(wire.response_with_body().1).expect("text")
    }
}

fn ask(to: SocketAddr) -> Wire {
    let mut wire = Wire::connect(to);
    wire.get("/", "");
    wire
}

fn from_zero() {
    let world = World::new();
    world.write(&slice(
        "web-ebb",
        "ebb.dev",
        world.activator.proxied.port(),
        &[world.activator.proxied],
    ));
    world
        .autoscaler
        .await_port("in the request path", |port| port["in_path"] == true);

    let asked = Instant::now();
    let mut wires: Vec<_> = (0..20).map(|_| ask(world.activator.proxied)).collect();
    world
        .autoscaler
        .await_port("the first queued request", |port| {
            port["queued"].as_u64() > Some(0)
        });
    note(format!(
        "the autoscaler receives the report of the first request at zero replicas after {:.1} ms",
        asked.elapsed().as_secs_f64() * 1e3
    ));
    world
        .autoscaler
        .await_port("all of them", |port| port["queued"] == 20);
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    world.pods(&[sample.address()]);
    for wire in &mut wires {
        assert_eq!(wire.response(), 200);
    }
    let port = world.autoscaler.await_port("none queued", |port| {
        port["queued"] == 0 && port["answered"] == 20
    });
    assert_eq!(port["queued_ever"], 20);
    assert!(port["queued_integral"].as_u64() > Some(0));

    // The activator leaves the request path of the Service. Requests on open connections must still be answered, and
    // the port stays open.
    world.write(&slice(
        "web-ebb",
        "ebb.dev",
        world.activator.proxied.port(),
        &[],
    ));
    world
        .autoscaler
        .await_port("out of the path", |port| port["in_path"] == false);
    wires[0].get("/", "");
    assert_eq!(wires[0].response(), 200);

    let metrics = world.metrics();
    for line in [
        "ebb_activator_answered_total{namespace=\"shop\",service=\"web\",port=\"http\"} 21",
        "ebb_activator_in_path{namespace=\"shop\",service=\"web\",port=\"http\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }

    // The Service has no pods again. The activator receives this update some milliseconds later; until then it forwards
    // requests to the pod.
    world.pods(&[]);
    let mut late = Vec::new();
    eventually("queued again", SOON, || {
        late.push(ask(world.activator.proxied));
        let last = world.autoscaler.last.lock().expect("sound");
        (last["ports"][0]["queued"].as_u64() > Some(0)).then_some(())
    });
}

fn leaves() {
    let mut world = World::new();
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    world.pods(&[sample.address()]);
    let mut slow = Wire::connect(world.activator.proxied);
    slow.get("/?sleep=3000", "");
    world
        .autoscaler
        .await_port("the request is at the pod", |port| port["in_flight"] == 1);
    world.activator.process.signal(Signal::SIGTERM);
    eventually("the activator reports that it is leaving", SOON, || {
        let last = world.autoscaler.last.lock().expect("sound");
        (last["leaving"] == true).then_some(())
    });
    // A terminating activator must keep serving until all nodes have removed it from their endpoints.
    assert_eq!(ask(world.activator.proxied).response(), 200);
    assert_eq!(slow.response(), 200);
    assert!(
        world
            .activator
            .process
            .wait(Duration::from_secs(20))
            .success()
    );
    assert!(TcpStream::connect(world.activator.proxied).is_err());
}
