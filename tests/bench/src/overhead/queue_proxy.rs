//! Knative's queue-proxy in front of a server. It is configured as Knative's reconciler would configure it
//! (`pkg/reconciler/revision/resources/queue.go` of knative/serving): no hard limit, no probe, no request log, and
//! otherwise the defaults of a revision.
//!
//! The ports of the queue-proxy for metrics and administration are fixed: 8022, 9090 and 9091. Failure mode: if one of
//! these ports is in use, the queue-proxy ends with an error.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Result, bail};
use ebb_fixtures::{Process, TestCgroup, eventually, free_port};

/// Time limit until the queue-proxy listens. It takes a fraction of a second; the limit allows for a loaded machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A running queue-proxy in a private cgroup.
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
    /// If the file `program` does not exist.
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
            // The log level does not change the cost of a request: the queue-proxy logs no requests at any level.
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

    /// Returns the listening address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
