//! Knative's queue-proxy in front of a server, configured as its reconciler would
//! (`pkg/reconciler/revision/resources/queue.go` of knative/serving): no hard limit, no probe, no request log, the defaults
//! of a revision.
//!
//! Its ports for metrics and administration, 9090, 9091 and 8022, are fixed. Failure mode: if one of them is in use, the
//! queue-proxy ends with an error.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Result, bail};
use ebb_fixtures::{Process, TestCgroup, eventually, free_port};

/// Limit for a Go program to listen, which takes a fraction of a second; the limit allows for a loaded machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A running queue-proxy in its own cgroup.
#[derive(Debug)]
pub(crate) struct QueueProxy {
    _process: Process,
    cgroup: TestCgroup,
    address: SocketAddr,
}

impl QueueProxy {
    /// Starts a queue-proxy in front of a server on 127.0.0.1.
    ///
    /// # Errors
    /// If there is no such program.
    ///
    /// # Panics
    /// If the server does not listen in time.
    pub(crate) fn start(program: &Path, server: SocketAddr) -> Result<Self> {
        if !program.is_file() {
            bail!("{}: no such file", program.display());
        }
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(program);
        command
            .env("QUEUE_SERVING_PORT", address.port().to_string())
            .env("QUEUE_SERVING_TLS_PORT", "8112")
            .env("USER_PORT", server.port().to_string())
            .env("CONTAINER_CONCURRENCY", "0")
            .env("REVISION_TIMEOUT_SECONDS", "300")
            .env("SERVING_NAMESPACE", "default")
            .env("SERVING_SERVICE", "bench")
            .env("SERVING_CONFIGURATION", "bench")
            .env("SERVING_REVISION", "bench-00001")
            .env("SERVING_POD", "bench-00001-deployment-0")
            .env("SERVING_POD_IP", "127.0.0.1")
            .env("SERVING_LOGGING_CONFIG", "")
            // It logs nothing about a request at any level.
            .env("SERVING_LOGGING_LEVEL", "warn")
            .env("SYSTEM_NAMESPACE", "knative-serving")
            .stdout(Stdio::null());
        let cgroup = TestCgroup::new();
        let process = Process::start(command, Some(&cgroup));
        eventually(&format!("queue-proxy at {address}"), LISTENS_WITHIN, || {
            TcpStream::connect(address).ok()
        });
        Ok(Self {
            _process: process,
            cgroup,
            address,
        })
    }

    pub(super) fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// The listening address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
