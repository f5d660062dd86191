//! Servers of several makes, each inside a cgroup of the test's choosing.

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

/// Python on a loaded machine takes the longest, a second or two.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// Where a server is put: into a cgroup, and at an address of the network namespace of this thread.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    cgroup: &'a TestCgroup,
    ip: IpAddr,
}

impl<'a> Place<'a> {
    /// At an address other than 127.0.0.1.
    #[must_use]
    pub fn at(cgroup: &'a TestCgroup, ip: impl Into<IpAddr>) -> Self {
        let ip = ip.into();
        Self { cgroup, ip }
    }

    /// An address of it nobody listens at; see [`crate::harness::free_port`].
    fn free_address(&self) -> SocketAddr {
        TcpListener::bind((self.ip, 0))
            .and_then(|listener| listener.local_addr())
            .unwrap_or_else(|error| panic!("{}: {error}", self.ip))
    }

    /// Starts a server here, without its output, and waits until it listens.
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

/// Waits until somebody listens. Done before a counter is attached, so the connection this takes
/// is in nobody's count.
#[track_caller]
fn listening(address: SocketAddr) {
    eventually(&format!("server at {address}"), LISTENS_WITHIN, || {
        TcpStream::connect(address).ok()
    });
}
