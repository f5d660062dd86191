//! Host names of the test run's own, each with one or more addresses, for programs that resolve the name of a headless
//! Service.
//!
//! The hosts file is replaced in the run's own mount namespace; nothing remains of it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::mount::{MsFlags, mount};

const WHERE: &str = "/etc/hosts";

static OWN: AtomicBool = AtomicBool::new(false);

/// Replaces the hosts file. Must be called in the run's own mount namespace, see [`super::bpffs::mount_private`].
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
    // The mount keeps the file alive; the file's name is removed here.
    Ok(())
}

/// Whether the run has its own hosts file.
#[must_use]
pub fn are_own() -> bool {
    OWN.load(Ordering::Relaxed)
}

/// Adds an address to a name. The name may have other addresses.
///
/// # Panics
/// If the hosts file is the machine's own.
pub fn name(name: &str, address: IpAddr) {
    assert!(are_own(), "{WHERE} is the machine's");
    let mut file = OpenOptions::new().append(true).open(WHERE).expect("open");
    writeln!(file, "{address} {name}").expect("write");
}
