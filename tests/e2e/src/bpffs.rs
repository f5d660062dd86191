//! A bpffs that only this test run sees, for the agents' pins.
//!
//! The bpffs is mounted over the machine's bpffs, in a private mount namespace. The kernel removes the private bpffs
//! and its pins when the test run ends, even if the run is killed.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// The mount point. Every kernel that supports bpffs creates this folder, even if no bpffs is mounted there.
const WHERE: &str = "/sys/fs/bpf";

static MOUNTED: AtomicBool = AtomicBool::new(false);

/// Mounts the private bpffs. Must be called before the process has a second thread: a mount namespace belongs to a
/// thread, and new threads inherit it.
///
/// # Errors
/// If the process lacks the permission, or the kernel has no bpffs.
pub fn mount_private() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none)?;
    mount(Some("bpf"), WHERE, Some("bpf"), MsFlags::empty(), none)?;
    MOUNTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Returns the mount point of the private bpffs; `None` if no private bpffs is mounted.
#[must_use]
pub fn private() -> Option<&'static Path> {
    let mounted = MOUNTED.load(Ordering::Relaxed);
    mounted.then(|| Path::new(WHERE))
}
