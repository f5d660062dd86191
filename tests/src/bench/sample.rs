//! `ebb-sample` as a server of bodies without end and of work that is known.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::Result;

use super::program;
use crate::harness::{Process, TestCgroup, eventually, free_port};

/// It takes milliseconds; a loaded machine gets this long.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A running `ebb-sample`.
#[derive(Debug)]
pub(super) struct Sample {
    _process: Process,
    address: SocketAddr,
}

impl Sample {
    /// # Errors
    /// It is not built.
    ///
    /// # Panics
    /// It does not listen in time.
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

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}
