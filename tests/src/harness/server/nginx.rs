//! nginx with its own configuration and folder; the system's nginx is not touched.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use tempfile::TempDir;

use super::Place;
use crate::harness::{Process, Wire, find};

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    _process: Process,
    _prefix: TempDir,
    address: SocketAddr,
    http2: SocketAddr,
}

/// Size of `/large`: 100 MB.
pub const LARGE: u64 = 100_000_000;

/// Settings of one nginx that differ from the usual ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup<'a> {
    /// Further parameters of its `listen`, such as `deferred` or `backlog=4`.
    pub listen: &'a str,
    /// Further directives of `http`.
    pub http: &'a str,
    /// Further directives of `server`.
    pub server: &'a str,
}

impl Nginx {
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>) -> Self {
        Self::set_up(place, Setup::default())
    }

    /// Starts with further parameters of its `listen`.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn start_with<'a>(place: impl Into<Place<'a>>, listen: &str) -> Self {
        let setup = Setup {
            listen,
            ..Setup::default()
        };
        Self::set_up(place, setup)
    }

    /// Starts with additional configuration.
    ///
    /// # Panics
    /// If the server does not listen in time.
    #[must_use]
    pub fn set_up<'a>(place: impl Into<Place<'a>>, setup: Setup<'_>) -> Self {
        let place = place.into();
        let prefix = tempfile::Builder::new()
            .prefix("ebb-nginx-")
            .tempdir()
            .expect("a folder");
        let (address, http2) = (place.free_address(), place.free_address());
        let folder = prefix.path().display().to_string();
        let Setup {
            listen,
            http,
            server,
        } = setup;
        fs::write(
            prefix.path().join("nginx.conf"),
            CONFIGURATION
                .replace("{http}", http)
                .replace("{server}", server)
                .replace("{folder}", &folder)
                .replace("{http2}", &http2.to_string())
                .replace("{address}", &format!("{address} {listen}")),
        )
        .expect("nginx.conf");
        fs::write(prefix.path().join("page.html"), "<p>page</p>\n").expect("page.html");
        // A sparse file: it has this length and uses no disk space.
        fs::File::create(prefix.path().join("large"))
            .and_then(|file| file.set_len(LARGE))
            .expect("large");
        let mut command = Command::new(find::tool("nginx").expect("nginx"));
        command
            .arg("-p")
            .arg(prefix.path())
            .args(["-c", "nginx.conf", "-e", "error.log"]);
        let process = place.serve(command, address);
        Self {
            _process: process,
            _prefix: prefix,
            address,
            http2,
        }
    }

    /// The listening address: `/` answers a short text, `/page.html` a file, `/large` a file of [`LARGE`] bytes, `/204`
    /// nothing.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address that serves HTTP/2 by prior knowledge, and nothing else. (Versions later than 1.25 serve both protocols
    /// at one address; all versions can do this.)
    #[must_use]
    pub fn http2_address(&self) -> SocketAddr {
        self.http2
    }

    /// Number of requests received, this query included.
    ///
    /// # Panics
    /// If the server does not answer.
    #[must_use]
    pub fn requests(&self) -> u64 {
        stub_status(self.address).unwrap_or_else(|text| panic!("no count in {text:?}"))
    }
}

/// Number of requests that the nginx at `address` has received, this query included. Its `/status` must be a `stub_status`.
///
/// # Errors
/// The server's answer, if it is not a count.
pub fn stub_status(address: SocketAddr) -> Result<u64, String> {
    let mut wire = Wire::connect(address);
    wire.get("/status", "Connection: close\r\n");
    let (_, body) = wire.response_with_body();
    let text = String::from_utf8_lossy(&body).into_owned();
    // Active connections: 1
    // server accepts handled requests
    //  7 7 12
    let count = text
        .lines()
        .nth(2)
        .and_then(|line| line.split_whitespace().nth(2))
        .and_then(|count| count.parse().ok());
    count.ok_or(text)
}

/// The configuration. `user root`: the workers read the folder, which is private to the test. `keepalive_requests` is high,
/// so that connections live as long as the load.
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
    {http}
    server {
        listen {address} backlog=1024;
        listen {http2} backlog=1024 http2;
        root {folder};
        if_modified_since before;
        location = / { return 200 'nginx\\n'; }
        location = /204 { return 204; }
        location = /status { stub_status; }
        {server}
    }
}
";
