//! Several different servers, each in a cgroup that the test chooses.

mod apache;
mod haproxy;
mod nghttpd;
mod nginx;
mod python;
mod sample;
mod script;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

pub use apache::Apache;
pub use haproxy::HaProxy;
pub use nghttpd::Nghttpd;
pub use nginx::{LARGE, Nginx, Setup, stub_status};
pub use python::{Files, Reply, Scripted};
pub use sample::{Sample, Stats};
pub use script::{Script, Service};

use super::{Process, TestCgroup, eventually};

/// Limit for a server to listen. Python on a loaded machine is the slowest, at a second or two.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// Where a server runs: a cgroup, and an address in this thread's network namespace.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    cgroup: &'a TestCgroup,
    ip: IpAddr,
}

impl<'a> Place<'a> {
    /// Chooses an address other than 127.0.0.1.
    #[must_use]
    pub fn at(cgroup: &'a TestCgroup, ip: impl Into<IpAddr>) -> Self {
        let ip = ip.into();
        Self { cgroup, ip }
    }

    /// A socket address at which nothing listens; see [`crate::harness::free_port`].
    fn free_address(&self) -> SocketAddr {
        TcpListener::bind((self.ip, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap_or_else(|error| panic!("{}: {error}", self.ip))
    }

    /// Starts a server here, discards its output, and waits until it listens.
    #[track_caller]
    fn serve(self, mut command: Command, address: SocketAddr) -> Process {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::start(command, Some(self.cgroup));
        listening(address);
        process
    }
}

impl<'a> From<&'a TestCgroup> for Place<'a> {
    fn from(cgroup: &'a TestCgroup) -> Self {
        Self::at(cgroup, Ipv4Addr::LOCALHOST)
    }
}

/// Waits until a server listens. This happens before a counter is attached, so no counter sees this connection.
#[track_caller]
fn listening(address: SocketAddr) {
    eventually(&format!("server at {address}"), LISTENS_WITHIN, || {
        TcpStream::connect(address).ok()
    });
}
