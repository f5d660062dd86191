//! Servers of several makes, each inside a cgroup of the test's choosing.

mod nginx;
mod python;
mod sample;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

pub use nginx::Nginx;
pub use python::{Files, Scripted};
pub use sample::{Sample, Stats};

use super::eventually;

/// Python on a loaded machine takes the longest, a second or two.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Waits until somebody listens. Done before a counter is attached, so the connection this takes
/// is in nobody's count.
#[track_caller]
fn listening(address: SocketAddr) {
    eventually(&format!("server at {address}"), LISTENS_WITHIN, || {
        TcpStream::connect(address).ok()
    });
}
