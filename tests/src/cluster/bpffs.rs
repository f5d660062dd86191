//! A bpffs that only this test run sees, for the agents' pins.
//!
//! It is mounted over the machine's in a mount namespace of the test run's own, so that nothing remains of it, or of what
//! is pinned in it, however the run ends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Made by every kernel that has a bpffs, whether or not one is mounted there.
const WHERE: &str = "/sys/fs/bpf";

static MOUNTED: AtomicBool = AtomicBool::new(false);

/// Mounts it. To be called before the process has a second thread: a mount namespace is a thread's, and inherited by
/// those it makes.
///
/// # Errors
/// The process may not, or the kernel has none.
pub fn mount_private() -> Result<(), Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none)?;
    mount(Some("bpf"), WHERE, Some("bpf"), MsFlags::empty(), none)?;
    MOUNTED.store(true, Ordering::Relaxed);
    Ok(())
}

/// Where it is, if it is.
#[must_use]
pub fn private() -> Option<&'static Path> {
    let mounted = MOUNTED.load(Ordering::Relaxed);
    mounted.then(|| Path::new(WHERE))
}
