//! Pods of a mesh: the packet filter redirects the pod's connections to a sidecar. From outside, TLS arrives at the
//! sidecar; the applications get plain HTTP from it.
//!
//! The agent counts such a pod at the ports of its applications (`ebb.dev/hop: app`), as `ebb watch --ports` does. With
//! TPROXY, it counts only connections from inside the pod, as `ebb watch --only-inside` does. At the edge, the
//! connections from outside count (`ebb.dev/hop: edge`).

mod kind;
mod pod;

use std::time::Duration;

use ebb_fixtures::client::Client;
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Need, Wire};

use super::INTERVAL;
use kind::{LISTENING, Mesh};
use pod::{Pod, Speaks};

const NEEDS: &[Need] = &[
    Need::Ebb,
    Need::Intercept,
    Need::Tool("curl"),
    Need::Tool("h2load"),
    Need::Tool("haproxy"),
    Need::Tool("nginx"),
    Need::Tool("openssl"),
];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::mesh::istio_redirect_app", NEEDS, || {
        at_the_app(Mesh::IstioRedirect);
    }),
    Case::beside("exact::mesh::istio_redirect_edge", NEEDS, || {
        at_the_edge(Mesh::IstioRedirect, &[]);
    }),
    Case::beside("exact::mesh::istio_redirect_ports", NEEDS, || {
        at_the_edge(Mesh::IstioRedirect, &["--ports", "15006"]);
    }),
    Case::beside("exact::mesh::istio_tproxy_edge", NEEDS, || {
        at_the_edge(Mesh::IstioTproxy, &[]);
    }),
    Case::beside("exact::mesh::istio_tproxy_app", NEEDS, || {
        at_the_app(Mesh::IstioTproxy);
    }),
    Case::beside("exact::mesh::linkerd_app", NEEDS, || {
        at_the_app(Mesh::Linkerd);
    }),
    Case::beside("exact::mesh::linkerd_edge", NEEDS, || {
        at_the_edge(Mesh::Linkerd, &[]);
    }),
    Case::beside("exact::mesh::linkerd_ports", NEEDS, || {
        at_the_edge(Mesh::Linkerd, &["--ports", "4143"]);
    }),
];

/// Requests to each application, per protocol.
const EACH: usize = 5;
/// Calls from an application to a server outside the pod.
const CALLS: usize = 5;
const PROBES: usize = 3;

/// Opens a connection from outside the pod to its first application, and sends one request on it.
fn opened_before(pod: &Pod) -> Wire {
    let mut wire = pod.net.client.inside(|| Wire::connect(pod.address()));
    ask_again(&mut wire);
    wire
}

fn ask_again(wire: &mut Wire) {
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
}

/// Sends requests from outside, on an open connection (`wire`) and on others, calls from the pod, and probes.
fn traffic(mesh: Mesh, pod: &Pod, wire: &mut Wire) {
    for _ in 0..EACH {
        ask_again(wire);
    }
    for speaks in [Speaks::Plain, Speaks::Tls, Speaks::Http2] {
        pod.ask(speaks, EACH);
    }
    pod.call_out(CALLS);
    for port in mesh.probes(pod.address().port()) {
        pod.probe(port, PROBES);
    }
}

/// Each request counts once, at the application, whatever address the application listens on.
fn at_the_app(mesh: Mesh) {
    let pod = Pod::start(mesh, &LISTENING);
    let mut wire = opened_before(&pod);
    let before = pod.received();
    let ports = pod.ports();
    let mut arguments = vec!["--ports", &ports];
    if mesh == Mesh::IstioTproxy {
        arguments.push("--only-inside");
    }
    let mut watch = Watch::start(&pod.cgroup, INTERVAL, &arguments);

    traffic(mesh, &pod, &mut wire);
    let slow = slow_requests(&pod);
    let line = watch.until("the slow requests are in flight", |_, line| {
        line.in_flight == SLOW
    });
    assert_eq!(line.by_protocol()[3], 0, "opaque");
    let report = slow.finish();
    assert!(report.contains("3 succeeded, 0 failed"), "{report}");

    let totals = watch.settle();
    let received = pod.received() - before;
    let sent = EACH as u64 * (1 + 3 * LISTENING.len() as u64) + SLOW;
    let probes = match mesh {
        Mesh::Linkerd => PROBES,
        // Istio's agent passes the probes at 15020 on, and answers those at 15021.
        Mesh::IstioRedirect | Mesh::IstioTproxy => 2 * PROBES,
    } as u64;
    assert_eq!(received, sent + probes);
    let expected = Ends {
        excluded: probes,
        ..Ends::answered(sent)
    };
    assert_eq!(totals.ends(), expected, "{totals:?}");
    assert_eq!(totals.events["unreadable"], 0, "{totals:?}");
}

/// The number of concurrent slow requests on one connection with TLS.
const SLOW: u64 = 3;

fn slow_requests(pod: &Pod) -> Client {
    let url = format!("https://{}/?sleep=500", pod.address());
    let options = ["-c", "1", "-n", "3", "-m", "3", &url];
    pod.net.client.inside(|| Client::start("h2load", &options))
}

/// Each connection from outside counts: by its requests, or as opaque if it uses TLS. The connections between the
/// sidecar and the applications do not count, nor do the calls of the applications.
fn at_the_edge(mesh: Mesh, arguments: &[&str]) {
    let pod = Pod::start(mesh, &LISTENING);
    let mut wire = opened_before(&pod);
    let mut watch = Watch::start(&pod.cgroup, INTERVAL, arguments);

    traffic(mesh, &pod, &mut wire);
    let line = watch.line_after(Duration::ZERO);
    assert_eq!(line.in_flight, 0, "{line:?}");

    let totals = watch.settle();
    let apps = LISTENING.len() as u64;
    let probes = match arguments {
        [] => mesh.probes(0).len(),
        // Those of Istio's agent arrive at other ports.
        _ => 1,
    };
    let expected = Ends {
        opaque: 2 * apps,
        excluded: (probes * PROBES) as u64,
        ..Ends::answered(EACH as u64 * (1 + apps))
    };
    assert_eq!(totals.ends(), expected, "{totals:?}");
}
