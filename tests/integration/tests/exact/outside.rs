//! Listening sockets that were created outside the watched cgroup: `ebb watch` names the port and the cgroup. This is
//! case K13 of [`field`](super::field).
//!
//! Where a test expects no warning for a server, it also starts a server with such a socket. A scan looks at all
//! servers of the cgroup, so the warning for the one shows that the other was looked at, too.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;

use ebb_fixtures::net::NetNs;
use ebb_fixtures::server::{Nginx, Sample};
use ebb_fixtures::watch::{SOON, Watch};
use ebb_fixtures::{Case, Dialogue, Need, TestCgroup, Wire, eventually, python};

use super::INTERVAL;

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::field::k13_server_moved_into_the_cgroup",
        &[Need::Ebb, Need::Tool("nginx")],
        moved,
    ),
    Case::beside("exact::field::k13_socket_activation", PYTHON, activated),
    Case::beside("exact::field::k13_servers_inside", PYTHON, inside),
    Case::beside(
        "exact::field::k13_another_network_namespace",
        PYTHON,
        another_namespace,
    ),
    Case::beside("exact::field::k13_ipv6", PYTHON, ipv6),
    Case::beside(
        "exact::field::k13_found_while_it_watches",
        PYTHON,
        while_it_watches,
    ),
    Case::beside("exact::field::k13_ports_that_count", PYTHON, ports),
    Case::beside("exact::field::k13_removed_cgroup", PYTHON, removed),
];

const PYTHON: &[Need] = &[Need::Ebb, Need::Python("http.server")];

/// A server that opens its sockets and changes its cgroup when the test says so.
struct Mover(Dialogue);

impl Mover {
    /// Starts the server in the network namespace of this thread.
    fn start() -> Self {
        let mut command = Command::new(python("http.server").expect("a Python"));
        command.args(["-c", include_str!("outside.py")]);
        Self(Dialogue::start(command))
    }

    fn ask(&mut self, command: &str) -> u32 {
        self.0.say(command);
        self.0.hear().trim().parse().expect("a number")
    }

    /// Moves the server into a cgroup.
    fn enter(&mut self, cgroup: &TestCgroup) {
        self.ask(&format!("enter {}", cgroup.path().display()));
    }

    /// Opens a listening socket, and returns its port.
    fn listen(&mut self, address: impl Into<IpAddr>) -> u16 {
        let port = self.ask(&format!("listen {}", address.into()));
        port.try_into().expect("a port")
    }

    /// Passes the newest socket to a process in a cgroup.
    fn pass(&mut self, cgroup: &TestCgroup) {
        self.ask(&format!("pass {}", cgroup.path().display()));
    }

    /// Starts a server with a socket that was created in `created`, and moves it into `cgroup`. Returns the port, too.
    fn from(created: &TestCgroup, cgroup: &TestCgroup) -> (Self, u16) {
        let mut server = Self::start();
        server.enter(created);
        let port = server.listen(Ipv4Addr::LOCALHOST);
        server.enter(cgroup);
        (server, port)
    }
}

/// Waits until `ebb watch` has found this number of listening sockets that were created outside.
#[track_caller]
fn found(watch: &mut Watch, number: u64) {
    watch.until("sockets that were created outside", |totals, _| {
        totals.events["listener_outside_cgroup"] == number
    });
}

/// Ends `ebb watch`. Checks that it has warned of these ports and of no other, once each, and that each warning
/// contains `cgroup`, where the socket was created.
#[track_caller]
fn assert_warned(watch: Watch, ports: &[u16], cgroup: &str) {
    let end = watch.interrupt();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    let warnings: Vec<_> = end
        .stderr
        .lines()
        .filter(|line| line.contains("are not counted"))
        .collect();
    assert_eq!(warnings.len(), ports.len(), "{}", end.stderr);
    for port in ports {
        let start = format!("connections to port {port} are not counted: ");
        let named = |line: &&&str| line.contains(&start) && line.contains(cgroup);
        assert_eq!(warnings.iter().filter(named).count(), 1, "{}", end.stderr);
    }
}

/// Sends a request on a connection of its own.
#[track_caller]
fn request(port: u16) {
    let mut wire = Wire::connect((Ipv4Addr::LOCALHOST, port).into());
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
}

fn path(cgroup: &TestCgroup) -> &str {
    cgroup.path().to_str().expect("a path in UTF-8")
}

fn moved() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let server = Nginx::start(&created);
    eventually("all processes of nginx are moved", SOON, || {
        let procs = fs::read_to_string(created.path().join("cgroup.procs")).expect("a list");
        for pid in procs.lines() {
            // A process that has just ended cannot be moved.
            fs::write(pod.path().join("cgroup.procs"), pid).ok();
        }
        procs.is_empty().then_some(())
    });
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    found(&mut watch, 2);
    request(server.address().port());
    // This is why the warning is needed.
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (0, 0), "{totals:?}");
    let ports = [server.address(), server.http2_address()].map(|address| address.port());
    let advice = format!(
        "listens with a socket that was created in another cgroup, {0}; restart the server inside the watched cgroup, \
         or watch {0} with --ports ",
        path(&created)
    );
    assert_warned(watch, &ports, &advice);
}

fn activated() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let mut manager = Mover::start();
    manager.enter(&created);
    let port = manager.listen(Ipv4Addr::LOCALHOST);
    manager.pass(&pod);
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    found(&mut watch, 1);
    request(port);
    assert_eq!(watch.settle().requests, 0);
    assert_warned(watch, &[port], path(&created));
}

fn inside() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let below = pod.child();
    let server = Sample::start(&pod);
    let descendant = Sample::start(&below);
    // A socket that was created in a descendant, and is served from the cgroup itself.
    let (_risen, _) = Mover::from(&below, &pod);
    let (_other, port) = Mover::from(&created, &pod);
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    found(&mut watch, 1);
    for server in [&server, &descendant] {
        request(server.address().port());
    }
    assert_eq!(watch.settle().requests, 2);
    assert_warned(watch, &[port], path(&created));
    drop(below);
}

fn another_namespace() {
    let namespace = NetNs::new();
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let (_server, port) = namespace.inside(|| Mover::from(&created, &pod));
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    found(&mut watch, 1);
    assert_warned(watch, &[port], path(&created));
}

fn ipv6() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let mut server = Mover::start();
    server.enter(&created);
    let ports = [
        // An IPv6 address, all addresses of both families, and an IPv4 address of an IPv6 socket.
        Ipv6Addr::LOCALHOST,
        Ipv6Addr::UNSPECIFIED,
        Ipv4Addr::LOCALHOST.to_ipv6_mapped(),
    ]
    .map(|address| server.listen(address));
    server.enter(&pod);
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    found(&mut watch, 3);
    let mut wire = Wire::connect(SocketAddr::from((Ipv6Addr::LOCALHOST, ports[0])));
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    assert_eq!(watch.settle().requests, 0);
    assert_warned(watch, &ports, path(&created));
}

fn while_it_watches() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    let (_first, moved) = Mover::from(&created, &pod);
    found(&mut watch, 1);
    let mut manager = Mover::start();
    manager.enter(&created);
    let passed = manager.listen(Ipv4Addr::LOCALHOST);
    manager.pass(&pod);
    // The scan that finds the second socket finds the first one again, and does not report it again.
    found(&mut watch, 2);
    assert_warned(watch, &[moved, passed], path(&created));
}

/// With `--ports`, `ebb watch` warns only of these ports.
fn ports() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let (_first, _) = Mover::from(&created, &pod);
    let (_second, port) = Mover::from(&created, &pod);
    let mut watch = Watch::start(&pod, INTERVAL, &["--ports", &port.to_string()]);
    found(&mut watch, 1);
    assert_warned(watch, &[port], path(&created));
}

fn removed() {
    let (created, pod) = (TestCgroup::new(), TestCgroup::new());
    let (_server, port) = Mover::from(&created, &pod);
    drop(created);
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    found(&mut watch, 1);
    assert_warned(watch, &[port], "in a cgroup that no longer exists; restart");
}
