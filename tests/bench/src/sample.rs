//! `ebb-sample` as a server of endless bodies and of known work.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use super::program;
use ebb_fixtures::{Process, TestCgroup, eventually, free_port};

/// Limit for the server to listen, which takes milliseconds; the limit allows for a loaded machine.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A running `ebb-sample`.
#[derive(Debug)]
pub(super) struct Sample {
    _process: Process,
    address: SocketAddr,
}

impl Sample {
    /// # Errors
    /// If `ebb-sample` is not built.
    ///
    /// # Panics
    /// If the server does not listen in time.
    pub(super) fn start(cgroup: &TestCgroup) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new(program::ours("ebb-sample")?);
        command.args(["--port", &address.port().to_string()]);
        let process = Process::start(command, Some(cgroup));
        eventually(&format!("ebb-sample at {address}"), LISTENS_WITHIN, || {
            TcpStream::connect(address).ok()
        });
        Ok(Self {
            _process: process,
            address,
        })
    }

    /// The listening address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
