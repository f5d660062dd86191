//! A proxy and its application in one cgroup: a request is counted once, however many hops it takes inside the cgroup.

use std::any::Any;
use std::net::SocketAddr;
use std::process::Command;

use ebb_fixtures::client::Client;
use ebb_fixtures::net::{NetNs, allow_fast_open};
use ebb_fixtures::server::{HaProxy, Nginx, Sample, Scripted, Setup, Then};
use ebb_fixtures::watch::{Ends, SOON, Watch};
use ebb_fixtures::{Case, Need, Process, TestCgroup};

use super::INTERVAL;

const NGINX: &[Need] = &[Need::Ebb, Need::Tool("nginx"), Need::Tool("h2load")];
const HAPROXY: &[Need] = &[Need::Ebb, Need::Tool("haproxy"), Need::Tool("h2load")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::nginx_before_an_app_counts_once", NGINX, || {
        through(nginx_http1, Hop::Any);
    }),
    Case::beside(
        "exact::nginx_with_kept_connections_counts_once",
        NGINX,
        || {
            through(nginx_http1_kept, Hop::Any);
        },
    ),
    Case::beside(
        "exact::nginx_before_an_app_http2_counts_once",
        NGINX,
        || {
            through(nginx_http2, Hop::Any);
        },
    ),
    Case::beside("exact::haproxy_before_an_app_counts_once", HAPROXY, || {
        through(haproxy, Hop::Any);
    }),
    Case::beside(
        "exact::fast_open_inside_a_pod_counts_not_at_all",
        super::CURL,
        fast_open,
    ),
    Case::beside(
        "exact::client_at_the_port_of_an_upstream_connection",
        &[Need::Ebb, Need::Tool("python3")],
        same_port,
    ),
    Case::beside("exact::ports_pick_the_outer_hop", NGINX, || {
        through(nginx_http1, Hop::Outer);
    }),
    Case::beside("exact::ports_pick_the_inner_hop", NGINX, || {
        through(nginx_http1_kept, Hop::Inner);
    }),
];

/// A client outside the pod counts, also if its address and port are those of a connection that the pod has opened.
fn same_port() {
    let cgroup = TestCgroup::new();
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let mut command = Command::new("python3");
    command
        .args(["-c", include_str!("same_port.py")])
        .arg(cgroup.path());
    assert!(Process::start(command, None).wait(SOON).success());
    assert_eq!(watch.settle().ends(), Ends::answered(3));
}

/// A proxy in front of an application.
struct Proxy {
    /// Keeps the proxy running; dropping this field ends the proxy.
    _running: Box<dyn Any>,
    address: SocketAddr,
    /// True if the client uses HTTP/2 to the proxy.
    http2: bool,
}

/// Starts nginx with its default proxy settings: HTTP/1.0 to the application, one connection per request.
fn nginx_http1(cgroup: &TestCgroup, app: SocketAddr) -> Proxy {
    let server = format!("location /app {{ proxy_pass http://{app}/; }}");
    nginx(cgroup, "", &server, false)
}

fn nginx_http2(cgroup: &TestCgroup, app: SocketAddr) -> Proxy {
    let server = format!("location /app {{ proxy_pass http://{app}/; }}");
    nginx(cgroup, "", &server, true)
}

fn nginx_http1_kept(cgroup: &TestCgroup, app: SocketAddr) -> Proxy {
    let http = format!("upstream app {{ server {app}; keepalive 16; }}");
    let server = "location /app {
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_pass http://app/;
    }";
    nginx(cgroup, &http, server, false)
}

fn nginx(cgroup: &TestCgroup, http: &str, server: &str, http2: bool) -> Proxy {
    let setup = Setup {
        http,
        server,
        ..Setup::default()
    };
    let nginx = Nginx::set_up(cgroup, setup);
    let address = if http2 {
        nginx.http2_address()
    } else {
        nginx.address()
    };
    Proxy {
        _running: Box::new(nginx),
        address,
        http2,
    }
}

fn haproxy(cgroup: &TestCgroup, app: SocketAddr) -> Proxy {
    let haproxy = HaProxy::start(cgroup, app);
    let address = haproxy.address();
    Proxy {
        _running: Box::new(haproxy),
        address,
        http2: false,
    }
}

/// The server whose port is given to `ebb watch` with `--ports`: the proxy (`Outer`) or the application behind it
/// (`Inner`). `Any`: `--ports` is not given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hop {
    Any,
    Outer,
    Inner,
}

const REQUESTS: u64 = 2_000;

/// Sends [`REQUESTS`] requests of 5 ms through a proxy to a server in the same cgroup.
fn through(proxy: fn(&TestCgroup, SocketAddr) -> Proxy, hop: Hop) {
    let cgroup = TestCgroup::new();
    let app = Sample::start(&cgroup);
    let proxy = proxy(&cgroup, app.address());
    let port = match hop {
        Hop::Any => None,
        Hop::Outer => Some(proxy.address.port().to_string()),
        Hop::Inner => Some(app.address().port().to_string()),
    };
    let arguments = port
        .as_ref()
        .map_or_else(Vec::new, |port| vec!["--ports", port]);
    let mut watch = Watch::start(&cgroup, INTERVAL, &arguments);
    let (before, count) = (app.stats(), REQUESTS.to_string());
    let url = format!("http://{}/app?sleep=5", proxy.address);
    let mut options = vec!["-c", "10", "-n", &count];
    if proxy.http2 {
        options.extend(["-m", "4"]);
    } else {
        options.push("--h1");
    }
    options.push(&url);
    let report = Client::start("h2load", &options).finish();
    assert!(
        report.contains(&format!("{REQUESTS} succeeded, 0 failed")),
        "{report}"
    );
    let after = app.stats();
    assert_eq!(after.requests - before.requests, REQUESTS);
    let totals = watch.settle();
    // The application's count is queried twice, at the application's port. `Hop::Outer` does not count these two
    // queries.
    let asked = if hop == Hop::Outer { 0 } else { 2 };
    assert_eq!(totals.requests, REQUESTS + asked, "{totals:?}");
    assert_eq!(totals.ends().answered, REQUESTS + asked, "{totals:?}");
}

/// A client in the pod sends its requests with TCP Fast Open: the server's end of the connection is established before
/// the client's end.
fn fast_open() {
    const REPLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const REQUESTS: u64 = 5;
    let namespace = NetNs::new();
    let allowed = namespace.inside(allow_fast_open);
    allowed.expect("root in this namespace");
    let pod = TestCgroup::new();
    let server = namespace.inside(|| Scripted::start(&pod, REPLY, Then::FastOpen));
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    let opened = || namespace.figure("netstat", "TcpExt", "TCPFastOpenPassive");
    let before = opened();
    for _ in 0..REQUESTS {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--fail",
            "--output",
            "/dev/null",
            "--tcp-fastopen",
        ]);
        command.arg(format!("http://{}/", server.address()));
        let mut curl = namespace.inside(|| Process::start(command, Some(&pod)));
        let status = curl.wait(SOON);
        assert!(status.success(), "{status}");
    }
    assert_eq!(
        opened() - before,
        REQUESTS,
        "connections with TCP Fast Open"
    );
    let totals = watch.settle();
    assert_eq!(totals.ends(), Ends::answered(0), "{totals:?}");
}
