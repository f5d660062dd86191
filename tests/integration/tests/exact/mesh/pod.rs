//! A pod of a mesh: its network namespace, a sidecar and applications. Each container has a cgroup below the cgroup of
//! the pod.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use ebb_fixtures::client::curl;
use ebb_fixtures::net::{CLIENT, Pair, SERVER};
use ebb_fixtures::server::{HaProxy, Nginx, Sample, ServerSite, Setup};
use ebb_fixtures::watch::SOON;
use ebb_fixtures::{Certificate, Process, TestCgroup};
use tempfile::TempDir;

use super::kind::Mesh;

/// What a client of the pod speaks to the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// HTTP/1.1 without TLS, as a client outside the mesh.
    Plain,
    /// HTTP/1.1 with mutual TLS.
    Tls,
    /// HTTP/2 with mutual TLS. The sidecar speaks HTTP/2 to the application, too.
    Http2,
}

/// A running pod. The processes are dropped before the cgroups, and the containers' cgroups before the pod's.
pub(super) struct Pod {
    apps: Vec<Sample>,
    /// The addresses to which clients of the pod connect.
    entries: Vec<SocketAddr>,
    _sidecar: HaProxy,
    /// A server with TLS outside the pod.
    outside: Nginx,
    _outside_cgroup: TestCgroup,
    app_cgroup: TestCgroup,
    _sidecar_cgroup: TestCgroup,
    pub(super) cgroup: TestCgroup,
    pub(super) net: Pair,
    folder: TempDir,
}

impl Pod {
    /// Starts a pod with one application for each of the addresses.
    pub(super) fn start(mesh: Mesh, listening: &[IpAddr]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cgroup = TestCgroup::new();
        let app_cgroup = cgroup.child_named("app");
        let sidecar_cgroup = cgroup.child_named("sidecar");
        let net = Pair::veth();
        // A sidecar that opens connections with the client's address must not choose a port that the client uses. On
        // one machine, the kernel would choose the same port for both (it hashes the addresses).
        net.client.client_ports(20_000, 30_000);
        let pem = certificate(folder.path());
        let apps: Vec<_> = net.server.inside(|| {
            let start = |ip: &IpAddr| Sample::start(ServerSite::at(&app_cgroup, *ip));
            listening.iter().map(start).collect()
        });
        let entries: Vec<_> = apps.iter().map(Sample::address).collect();
        mesh.intercept(&net.server, folder.path());
        let outside_cgroup = TestCgroup::new();
        let outside = net.client.inside(|| {
            let setup = Setup {
                listen: "ssl",
                http: &format!("ssl_certificate {pem}; ssl_certificate_key {pem};"),
                ..Setup::default()
            };
            Nginx::set_up(ServerSite::at(&outside_cgroup, CLIENT), setup)
        });
        let sidecar = net.server.inside(|| {
            let site = ServerSite::at(&sidecar_cgroup, Ipv4Addr::LOCALHOST);
            let listens = SocketAddr::from((Ipv4Addr::LOCALHOST, mesh.inbound()));
            HaProxy::configured(site, &configuration(mesh, &entries, &pem), listens)
        });
        Self {
            apps,
            entries,
            _sidecar: sidecar,
            outside,
            _outside_cgroup: outside_cgroup,
            app_cgroup,
            _sidecar_cgroup: sidecar_cgroup,
            cgroup,
            net,
            folder,
        }
    }

    /// Returns the applications' ports, as the value of `--ports`.
    pub(super) fn ports(&self) -> String {
        let ports = self.entries.iter().map(|entry| entry.port().to_string());
        ports.collect::<Vec<_>>().join(",")
    }

    /// Returns the address of the pod's first application, as clients outside the pod know it.
    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(SERVER, self.entries[0].port())
    }

    /// Returns the number of requests that the applications have received.
    pub(super) fn received(&self) -> u64 {
        self.net
            .server
            .inside(|| self.apps.iter().map(|app| app.stats().requests).sum())
    }

    /// Sends requests from outside the pod to each of its applications, one connection each.
    pub(super) fn ask(&self, speaks: Speaks, each: usize) {
        let pem = self.pem();
        let options: &[&str] = match speaks {
            Speaks::Plain => &["--http1.1"],
            Speaks::Tls => &["-k", "--http1.1", "--cert", &pem],
            Speaks::Http2 => &["-k", "--http2", "--cert", &pem],
        };
        let scheme = if speaks == Speaks::Plain {
            "http"
        } else {
            "https"
        };
        for entry in &self.entries {
            let url = format!("{scheme}://{SERVER}:{}/", entry.port());
            self.ask_urls(options, &vec![url; each]);
        }
    }

    /// Sends a kubelet's probes to this port of the pod.
    pub(super) fn probe(&self, port: u16, times: usize) {
        let url = format!("http://{SERVER}:{port}/");
        self.ask_urls(&["-A", "kube-probe/1.31"], &vec![url; times]);
    }

    fn ask_urls(&self, options: &[&str], urls: &[String]) {
        let fetched = self.net.client.inside(|| curl(options, urls));
        assert!(fetched.iter().all(|one| one.status == 200), "{fetched:?}");
    }

    /// Lets an application call a server outside the pod. The mesh redirects the calls to the sidecar, which adds TLS.
    pub(super) fn call_out(&self, times: usize) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--fail-early"]);
        for _ in 0..times {
            let url = format!("http://{}/", self.outside.address());
            command.args(["--output", "/dev/null", &url]);
        }
        let mut process = self
            .net
            .server
            .inside(|| Process::start(command, Some(&self.app_cgroup)));
        let status = process.wait(SOON);
        assert!(status.success(), "{status}");
    }

    /// Returns the path of the file with the mesh's certificate and its key.
    pub(super) fn pem(&self) -> String {
        pem_in(self.folder.path()).display().to_string()
    }
}

fn pem_in(folder: &Path) -> PathBuf {
    folder.join("pem")
}

/// Creates the certificate of every member of the mesh, and returns the path of the file with it and its key.
fn certificate(folder: &Path) -> String {
    let Certificate { key, certificate } = Certificate::create(folder);
    let read = |path| fs::read_to_string(path).expect("a file that openssl has written");
    let pem = pem_in(folder);
    fs::write(&pem, read(&certificate) + &read(&key)).expect("the certificate");
    pem.display().to_string()
}

/// Returns the sidecar's configuration: HTTP/1.1 or HTTP/2 to the application whose port the client has connected to.
fn configuration(mesh: Mesh, apps: &[SocketAddr], pem: &str) -> String {
    let backends: Vec<_> = apps.iter().map(|app| backend(mesh, *app)).collect();
    let transparent = match mesh {
        Mesh::IstioTproxy => "transparent",
        Mesh::IstioRedirect | Mesh::Linkerd => "",
    };
    include_str!("sidecar.cfg")
        .replace("{user}", mesh.user())
        .replace("{inbound}", &mesh.inbound().to_string())
        .replace("{outbound}", &mesh.outbound().to_string())
        .replace("{transparent}", transparent)
        .replace("{first}", &apps[0].port().to_string())
        .replace("{backends}", &backends.concat())
        .replace("{pem}", pem)
}

fn backend(mesh: Mesh, app: SocketAddr) -> String {
    let port = app.port();
    // An application that listens on all addresses is reached at the pod's.
    let ip = if app.ip().is_unspecified() {
        SERVER
    } else {
        app.ip()
    };
    let to = SocketAddr::new(ip, port);
    let source = mesh.source(ip);
    format!(
        "backend http1_{port}\n    server app {to} {source}\n\
         backend http2_{port}\n    server app {to} {source} proto h2\n"
    )
}
