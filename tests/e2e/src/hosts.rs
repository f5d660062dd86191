//! Host names that only this test run can resolve, each with one or more addresses, for programs that resolve the name
//! of a headless Service.
//!
//! A private hosts file is mounted over the machine's, in the test run's mount namespace. The machine's hosts file
//! stays unchanged.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::{MsFlags, mount};

const WHERE: &str = "/etc/hosts";

static OWN: AtomicBool = AtomicBool::new(false);

/// Mounts a private copy of the hosts file over the machine's. Must be called in the test run's private mount
/// namespace, see [`super::bpffs::mount_private`].
///
/// # Errors
/// If the hosts file cannot be read or mounted.
pub fn own() -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    fs::copy(WHERE, file.path()).map_err(|error| error.to_string())?;
    let none: Option<&str> = None;
    mount(Some(file.path()), WHERE, none, MsFlags::MS_BIND, none)
        .map_err(|error| error.to_string())?;
    OWN.store(true, Ordering::Relaxed);
    // The temporary file's name is removed when this function returns; the mount keeps the file's content.
    Ok(())
}

/// Returns whether the test run has a private hosts file.
#[must_use]
pub fn are_own() -> bool {
    OWN.load(Ordering::Relaxed)
}

/// Adds an address to a host name, in addition to the name's other addresses.
///
/// # Panics
/// If the test run has no private hosts file.
pub fn name(name: &str, address: IpAddr) {
    assert!(are_own(), "{WHERE} is the machine's");
    let mut file = OpenOptions::new().append(true).open(WHERE).expect("open");
    // The line is appended to the hosts file with one system call, because several tests may append a line at the same
    // time. `writeln!` would write the line in parts.
    let line = format!("{address} {name}\n");
    file.write_all(line.as_bytes()).expect("write");
}
