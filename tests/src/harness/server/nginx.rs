//! nginx with a configuration and a folder of its own, nothing of the system's touched.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{listening, local};
use crate::harness::{Process, TestCgroup, Wire, find, free_port};

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    _prefix: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start(cgroup: &TestCgroup) -> Self {
        Self::start_with(cgroup, "")
    }

    /// With further parameters of its `listen`, such as `deferred` or `backlog=4`.
    ///
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start_with(cgroup: &TestCgroup, listen: &str) -> Self {
        let prefix = tempfile::Builder::new()
            .prefix("ebb-nginx-")
            .tempdir()
            .expect("a folder");
        let address = local(free_port());
        let folder = prefix.path().display();
        fs::write(
            prefix.path().join("nginx.conf"),
            CONFIGURATION
                .replace("{folder}", &folder.to_string())
                .replace("{address}", &format!("{address} {listen}")),
        )
        .expect("nginx.conf");
        fs::write(prefix.path().join("page.html"), "<p>page</p>\n").expect("page.html");
        let mut command = Command::new(find::tool("nginx").expect("nginx"));
        command
            .arg("-p")
            .arg(prefix.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stderr(Stdio::null());
        let process = Process::start(command, Some(cgroup));
        listening(address);
        Self {
            _process: process,
            _prefix: prefix,
            address,
        }
    }

    /// Where it listens: `/` answers a short text, `/page.html` a file.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it has had, the one that asks included.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let mut wire = Wire::connect(self.address);
        wire.get("/status", "Connection: close\r\n");
        let (_, body) = wire.response_with_body();
        let text = String::from_utf8_lossy(&body).into_owned();
        // Active connections: 1
        // server accepts handled requests
        //  7 7 12
        text.lines()
            .nth(2)
            .and_then(|line| line.split_whitespace().nth(2))
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("no count in {text:?}"))
    }
}

/// `user root`: the workers read the folder, which is the test's alone. `keepalive_requests` is
/// high so that connections live as long as the load does.
const CONFIGURATION: &str = "
daemon off;
user root;
worker_processes 2;
pid {folder}/nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {
        listen {address} backlog=1024;
        root {folder};
        location = / { return 200 'nginx\\n'; }
        location = /status { stub_status; }
    }
}
";
