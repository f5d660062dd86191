//! The server under load: nginx with one worker, as is usual for benchmarks of proxies.

use std::{fs, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use tempfile::TempDir;

use super::program;
use ebb_fixtures::server::stub_status;
use ebb_fixtures::{Process, TestCgroup, eventually, free_port};

/// Bytes of the small page.
const SMALL: usize = 600;

/// Bytes of the large page.
const LARGE: usize = 16 * 1024;

/// Limit for nginx to listen, which takes milliseconds; the limit allows for a loaded machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A running nginx: `/small` and `/large` by HTTP/1 and HTTP/2.
#[derive(Debug)]
pub(super) struct Nginx {
    _process: Process,
    _prefix: TempDir,
    http1: SocketAddr,
    http2: SocketAddr,
}

impl Nginx {
    /// # Errors
    /// If its folder cannot be created.
    ///
    /// # Panics
    /// If the server does not listen in time.
    pub(super) fn start(cgroup: &TestCgroup) -> Result<Self> {
        let prefix = tempfile::Builder::new()
            .prefix("ebb-nginx-")
            .tempdir()
            .context("no folder for nginx")?;
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (http1, http2) = (local(), local());
        let folder = prefix.path().display().to_string();
        for (name, text) in [
            (
                "nginx.conf",
                CONFIGURATION
                    .replace("{folder}", &folder)
                    .replace("{http1}", &http1.to_string())
                    .replace("{http2}", &http2.to_string()),
            ),
            ("small", ".".repeat(SMALL)),
            ("large", ".".repeat(LARGE)),
        ] {
            fs::write(prefix.path().join(name), text)
                .with_context(|| format!("{folder}/{name}"))?;
        }
        let mut command = program::others("nginx");
        command
            .arg("-p")
            .arg(prefix.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stderr(Stdio::null());
        let process = Process::start(command, Some(cgroup));
        for address in [http1, http2] {
            eventually(&format!("nginx at {address}"), LISTENS_WITHIN, || {
                std::net::TcpStream::connect(address).ok()
            });
        }
        Ok(Self {
            _process: process,
            _prefix: prefix,
            http1,
            http2,
        })
    }

    /// The HTTP/1 address.
    pub(super) fn http1(&self) -> SocketAddr {
        self.http1
    }

    /// The HTTP/2 address, with prior knowledge.
    pub(super) fn http2(&self) -> SocketAddr {
        self.http2
    }

    /// Number of requests received over both protocols, this query included.
    ///
    /// # Errors
    /// If the server does not report the count.
    pub(super) fn requests(&self) -> Result<u64> {
        stub_status(self.http1).map_err(|text| anyhow!("no count in {text:?}"))
    }
}

/// The configuration. `user root`: the worker reads the folder, which is private to this run. `keepalive_requests` is high,
/// so that connections live as long as the load; the limit applies to streams too.
const CONFIGURATION: &str = "
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 100000000;
    http2_max_concurrent_streams 256;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {
        listen {http1} backlog=1024;
        listen {http2} http2 backlog=1024;
        root {folder};
        location = /status { stub_status; }
    }
}
";
