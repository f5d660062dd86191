//! A cgroup of the test's own, under the cgroup v2 mount of the machine.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::wait::poll;

/// Prefix of our cgroup names. The process id of the test run and a number follow.
const PREFIX: &str = "ebb-test-";

/// Killing and reaping the processes takes milliseconds; the limit allows for a loaded machine.
const EMPTIED_WITHIN: Duration = Duration::from_secs(10);

/// A cgroup v2 directory. Dropping it kills the processes in it and removes the directory.
#[derive(Debug)]
pub struct TestCgroup {
    path: PathBuf,
}

impl TestCgroup {
    /// # Panics
    /// If the cgroup cannot be created (the test's needs include root and cgroup v2).
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it makes a directory: not a value to default to"
    )]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mount = v2_mount().expect("cgroup v2 is mounted");
        let path = mount.join(format!("{PREFIX}{}-{number}", process::id()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    /// The cgroup's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Where cgroup v2 is mounted.
///
/// Read here instead of from the product: the product's own answer is under test.
pub(super) fn v2_mount() -> Option<PathBuf> {
    // proc(5): fields, then " - ", then the type of the file system.
    fs::read_to_string("/proc/self/mountinfo")
        .ok()?
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .find(|(_, rest)| rest.starts_with("cgroup2 "))
        .and_then(|(fields, _)| fields.split(' ').nth(4).map(PathBuf::from))
}

/// Removes the cgroups of test runs that are dead.
pub(super) fn sweep() {
    let Some(mount) = v2_mount() else { return };
    for entry in fs::read_dir(mount).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next());
        if let Some(owner) = owner
            && !Path::new("/proc").join(owner).exists()
        {
            remove(&entry.path());
        }
    }
}

/// Kills the processes in a cgroup and removes the cgroup. A failure is printed on stderr and does not panic, because this
/// runs while a failed test unwinds.
fn remove(path: &Path) {
    // Linux 5.14. An older kernel has no such file; there the fixtures have already ended their processes.
    fs::write(path.join("cgroup.kill"), "1").ok();
    let removed = poll(EMPTIED_WITHIN, || match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => None,
        _ => Some(()),
    });
    if removed.is_none() {
        eprintln!("{}: cannot be removed", path.display());
    }
}
