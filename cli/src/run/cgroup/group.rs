//! One cgroup: moving processes into it, waiting until it is empty, and removing it.
//!
//! All functions treat "the cgroup no longer exists" as success: replicas end by themselves, and another run may sweep
//! the tree of a dead run at the same time.
//!
//! Failure mode: a process in uninterruptible sleep survives SIGKILL until the kernel releases it. The wait for the end
//! of the process stops after [`KILL_LIMIT`] with an error, and the cgroup stays.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time,
};

use super::TreeError;

/// Time limit for SIGKILL to empty a cgroup. A killed process usually ends within milliseconds; the release of many GiB
/// of memory takes a second or two.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A handle to a cgroup, identified by its directory. Dropping the handle does not change the cgroup.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    path: PathBuf,
}

impl Group {
    pub(crate) fn new(path: PathBuf) -> Group {
        Group { path }
    }

    /// Returns the directory of the cgroup.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file `cgroup.procs`. A process enters the cgroup by writing "0" to this file.
    pub(crate) fn entrance(&self) -> Result<File, TreeError> {
        File::options()
            .write(true)
            .open(self.path.join("cgroup.procs"))
            .map_err(TreeError::io("open its cgroup.procs", &self.path))
    }

    /// Resolves when no process is left in the cgroup or below it. The kernel notifies about each change (POLLPRI on
    /// `cgroup.events`), so no polling is needed.
    ///
    /// See <https://docs.kernel.org/admin-guide/cgroup-v2.html#un-populated-notification>.
    pub(crate) async fn emptied(&self) -> Result<(), TreeError> {
        self.wait_until_empty()
            .await
            .map_err(TreeError::io("wait until the cgroup is empty", &self.path))
    }

    async fn wait_until_empty(&self) -> io::Result<()> {
        let Some(file) = File::open(self.path.join("cgroup.events")).ignore_gone()? else {
            return Ok(());
        };
        // SAFETY: a `File` keeps one descriptor open as long as it lives. The file lives in the `AsyncFd`, and the code
        // below only reads from the file.
        let mut events = unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?;
        loop {
            // Reading the file also arms the notification of the next change, so a change between the read and the wait
            // is not lost.
            match populated(events.get_mut()).ignore_gone()? {
                Some(true) => events.ready(Interest::PRIORITY).await?.clear_ready(),
                Some(false) | None => return Ok(()),
            }
        }
    }

    /// Sends SIGKILL to every process in the cgroup and below it.
    pub(crate) fn kill(&self) -> Result<(), TreeError> {
        // `cgroup.kill` (Linux 5.14) also kills a process that forks faster than a list of processes can be read.
        let written = fs::write(self.path.join("cgroup.kill"), "1");
        let done = match written {
            Err(error) if error.kind() == io::ErrorKind::NotFound => kill_one_by_one(&self.path),
            other => other,
        };
        done.ignore_gone()
            .map(drop)
            .map_err(TreeError::io("kill its processes", &self.path))
    }

    /// Kills the remaining processes, waits for their end, and removes the cgroup and all cgroups below it.
    pub(crate) async fn kill_and_remove(&self) -> Result<(), TreeError> {
        if !self.path.exists() {
            return Ok(());
        }
        let end = time::Instant::now() + KILL_LIMIT;
        loop {
            self.kill()?;
            // Before Linux 5.14, a process can fork after its list was read, so the kill is repeated until the cgroup
            // is empty.
            let again = time::Instant::now() + KILL_LIMIT / 20;
            if let Ok(emptied) = time::timeout_at(again, self.emptied()).await {
                break emptied?;
            }
            if time::Instant::now() >= end {
                return Err(TreeError::io("empty it", &self.path)(
                    io::ErrorKind::TimedOut.into(),
                ));
            }
        }
        remove_all(&self.path)
            .ignore_gone()
            .map(drop)
            .map_err(TreeError::io("remove it", &self.path))
    }
}

/// Reads the `populated` key of an open `cgroup.events`.
fn populated(events: &mut File) -> io::Result<bool> {
    let mut text = String::new();
    events.rewind()?;
    events.read_to_string(&mut text)?;
    Ok(text.lines().any(|line| line == "populated 1"))
}

/// Removes the cgroup directories, deepest first; the kernel removes their files.
fn remove_all(path: &Path) -> io::Result<()> {
    for child in children(path)? {
        remove_all(&child).ignore_gone()?;
    }
    fs::remove_dir(path)
}

/// Sends SIGKILL to each process in the cgroup and below it, for kernels before 5.14.
fn kill_one_by_one(path: &Path) -> io::Result<()> {
    for child in children(path)? {
        kill_one_by_one(&child).ignore_gone()?;
    }
    for pid in fs::read_to_string(path.join("cgroup.procs"))?
        .lines()
        .filter_map(|line| line.parse().ok())
    {
        match signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Returns the child cgroups of the cgroup at `path`.
pub(super) fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Turns the error "no longer exists" into `None`.
pub(super) trait IgnoreGone<T> {
    /// Returns `None` for ENOENT (the path no longer exists) and ENODEV (the cgroup of an open file was removed).
    fn ignore_gone(self) -> io::Result<Option<T>>;
}

impl<T> IgnoreGone<T> for io::Result<T> {
    fn ignore_gone(self) -> io::Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    || error.raw_os_error() == Some(Errno::ENODEV as i32) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
