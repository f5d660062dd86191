//! The server under load: nginx with one worker process, as is usual in benchmarks of proxies.

use std::fs;

use anyhow::{Result, anyhow};
use ebb_fixtures::{
    TestCgroup,
    server::{Nginx, stub_status},
};

/// Size of the page `/small`, in bytes.
const SMALL: usize = 600;

/// Size of the page `/large`, in bytes.
const LARGE: usize = 16 * 1024;

/// Starts an nginx that serves `/small` and `/large` over HTTP/1 and HTTP/2.
///
/// # Panics
/// If the server does not listen in time.
pub(super) fn start(cgroup: &TestCgroup) -> Nginx {
    Nginx::configured(cgroup, CONFIGURATION, |folder| {
        fs::write(folder.join("small"), ".".repeat(SMALL))?;
        fs::write(folder.join("large"), ".".repeat(LARGE))
    })
}

/// Returns the number of requests that nginx has received over both protocols, including this query.
///
/// # Errors
/// If the server does not report the count.
pub(super) fn requests(nginx: &Nginx) -> Result<u64> {
    stub_status(nginx.address()).map_err(|text| anyhow!("no count in {text:?}"))
}

/// The configuration. `user root`: the worker must read the folder, which is private to this run. `keepalive_requests`
/// is high, so that nginx does not close connections during a load; this limit also applies to HTTP/2 streams.
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
