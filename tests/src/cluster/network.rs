//! A network of the test run's own, in which pods and activators have addresses of their own.
//!
//! The API server accepts no loopback addresses for endpoints. So the whole run moves into a network namespace whose
//! loopback device has another range of addresses. A process can bind any of them, and every process in the namespace can
//! reach it. There is no route out. Nothing needs cleanup: the namespace disappears with the last process of the run.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use nix::sched::{CloneFlags, setns, unshare};

/// The range of addresses.
const RANGE: &str = "10.200.0.0/16";
/// The API server's advertised address. Otherwise it looks for a default route, and there is none.
pub(super) const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// The port of the pods' servers, each at its own address.
pub(super) const PORT: u16 = 8080;

static ENTERED: AtomicBool = AtomicBool::new(false);

/// Moves this process into the network. Must be called before the process has a second thread.
///
/// # Errors
/// Why the process stays in its network namespace.
pub fn enter() -> Result<(), String> {
    let home = File::open("/proc/thread-self/ns/net").map_err(|error| error.to_string())?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
    let set_up = ip("link set lo up").and_then(|()| ip(&format!("route add local {RANGE} dev lo")));
    if let Err(error) = set_up {
        setns(home.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|error| error.to_string())?;
        return Err(error);
    }
    ENTERED.store(true, Ordering::Relaxed);
    Ok(())
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// Whether the run is in its own network.
#[must_use]
pub fn is_private() -> bool {
    ENTERED.load(Ordering::Relaxed)
}

/// An address that was never used before; `None` without a private network.
#[must_use]
pub fn address() -> Option<IpAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(256);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = next.max(256).to_be_bytes();
    is_private().then(|| Ipv4Addr::new(10, 200, high, low).into())
}
