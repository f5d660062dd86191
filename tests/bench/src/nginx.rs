//! The server under load: nginx with one worker, as is usual for benchmarks of proxies.

use std::fs;

use anyhow::{Result, anyhow};
use ebb_fixtures::{
    TestCgroup,
    server::{Nginx, stub_status},
};

/// Bytes of the small page.
const SMALL: usize = 600;

/// Bytes of the large page.
const LARGE: usize = 16 * 1024;

/// Starts an nginx: `/small` and `/large` by HTTP/1 and HTTP/2.
///
/// # Panics
/// If the server does not listen in time.
pub(super) fn start(cgroup: &TestCgroup) -> Nginx {
    Nginx::configured(cgroup, CONFIGURATION, |folder| {
        fs::write(folder.join("small"), ".".repeat(SMALL))?;
        fs::write(folder.join("large"), ".".repeat(LARGE))
    })
}

/// Number of requests received over both protocols, this query included.
///
/// # Errors
/// If the server does not report the count.
pub(super) fn requests(nginx: &Nginx) -> Result<u64> {
    stub_status(nginx.address()).map_err(|text| anyhow!("no count in {text:?}"))
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
        listen {address} backlog=1024;
        listen {http2} http2 backlog=1024;
        root {folder};
        location = /status { stub_status; }
    }
}
";
