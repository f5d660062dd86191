//! The cgroup v2 tree of a run: `<mount>/ebb/run-<id>/replica-<n>`.
//!
//! The tree is the only state that a run keeps outside its own process. Other runs see from the tree whether a run is
//! alive: each run holds an `flock` on its directory, and the kernel releases the lock however the run ends. So no pid
//! file can become stale, and no lock exists without the directory that the lock protects.
//!
//! Failure mode: a cgroup that cannot be removed (for example because a process is stuck in the kernel) is reported and
//! stays until the [sweep](sweep::sweep) of the next run.

pub(crate) mod group;
pub(crate) mod sweep;

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use self::group::{Group, IgnoreGone as _};

/// The directory that all runs share, directly under the mount.
const PARENT: &str = "ebb";
/// The prefix of a run's directory name.
const RUN_PREFIX: &str = "run-";
/// Number of attempts to create and lock the directory of a run. An attempt fails only if the sweep of another run
/// removes the directory between `mkdir` and `flock`; two failures in a row are unlikely.
const ATTEMPTS: u32 = 10;

/// The reason why a cgroup cannot be created, used or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    /// An operation on a file or directory of the tree failed.
    #[error("cgroup {}: cannot {what}: {source}", path.display())]
    Io {
        /// The operation, as a verb and its object.
        what: &'static str,
        /// The path of the cgroup.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// Other runs removed the directory at each attempt.
    #[error(
        "cgroup {}: no directory for this run after {ATTEMPTS} attempts: other runs keep removing it",
        path.display()
    )]
    Contended {
        /// The directory that all runs share.
        path: PathBuf,
    },
}

impl TreeError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TreeError {
        let path = path.to_owned();
        move |source| TreeError::Io { what, path, source }
    }
}

/// The cgroups of this run. No other run removes them as long as this value lives.
#[derive(Debug)]
pub(crate) struct Tree {
    group: Group,
    /// The lock on the directory. It shows other runs that this run is alive.
    _lock: File,
}

impl Tree {
    /// Creates and locks a directory for this run below `mount`, the cgroup v2 mount point.
    pub(crate) fn create(mount: &Path) -> Result<Tree, TreeError> {
        let parent = mount.join(PARENT);
        for attempt in 0..ATTEMPTS {
            let path = parent.join(format!("{RUN_PREFIX}{}", unique_name(attempt)));
            // `None`: another run that ended removed the shared parent directory after this run had created the parent
            // directory and before it created its own directory below it.
            let made = fs::create_dir_all(&path)
                .ignore_gone()
                .map_err(TreeError::io("create it", &path))?;
            if made.is_some()
                && let Some(lock) = lock(&path)?
            {
                return Ok(Tree {
                    group: Group::new(path),
                    _lock: lock,
                });
            }
        }
        Err(TreeError::Contended { path: parent })
    }

    /// Creates the empty cgroup of replica number `replica`.
    pub(crate) fn add_replica(&self, replica: u64) -> Result<Group, TreeError> {
        let path = self.group.path().join(format!("replica-{replica}"));
        fs::create_dir(&path).map_err(TreeError::io("create it", &path))?;
        Ok(Group::new(path))
    }

    /// Kills the processes in the tree and removes the tree. Removes the shared parent directory too if no other run
    /// uses it.
    pub(crate) async fn remove(&self) -> Result<(), TreeError> {
        self.group.kill_and_remove().await?;
        remove_parent(self.group.path())
    }
}

/// Locks the directory until the returned file is dropped. Returns `None` if another process holds the lock, or if the
/// directory was removed or replaced.
fn lock(path: &Path) -> Result<Option<File>, TreeError> {
    let Some(file) = File::open(path)
        .ignore_gone()
        .map_err(TreeError::io("open it", path))?
    else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(source)) => return Err(TreeError::io("lock it", path)(source)),
    }
    // Between `open` and the lock, another run may have removed the directory or replaced it with a new one.
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let ours = file.metadata().map(identity).ok();
    let there = fs::metadata(path).map(identity).ok();
    Ok((there.is_some() && ours == there).then_some(file))
}

/// Removes the parent directory of `run`, which all runs share, unless it contains the directory of another run.
fn remove_parent(run: &Path) -> Result<(), TreeError> {
    let Some(parent) = run.parent() else {
        return Ok(());
    };
    match fs::remove_dir(parent).ignore_gone() {
        // EBUSY means that the cgroup has children (on other file systems: ENOTEMPTY).
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(TreeError::io("remove it", parent)(error))
        }
        _ => Ok(()),
    }
}

/// Returns a name that no other run has used. The name contains the time, because pids are reused.
fn unique_name(attempt: u32) -> String {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("{}-{nanos:x}-{attempt}", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a directory in an ordinary file system, which is enough to test names and locks.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ebb-{name}-{}", unique_name(0)));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_living_run_cannot_be_locked_by_another() {
        let mount = scratch("locked");
        let tree = Tree::create(&mount).unwrap();
        assert!(lock(tree.group.path()).unwrap().is_none());
        let path = tree.group.path().to_owned();
        drop(tree);
        assert!(lock(&path).unwrap().is_some());
        fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn a_directory_that_is_gone_cannot_be_locked() {
        let mount = scratch("gone");
        assert!(lock(&mount.join("never")).unwrap().is_none());
        fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn two_runs_have_two_directories() {
        let mount = scratch("two");
        let (one, two) = (Tree::create(&mount).unwrap(), Tree::create(&mount).unwrap());
        assert_ne!(one.group.path(), two.group.path());
        fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn the_shared_parent_stays_while_another_run_is_in_it() {
        let mount = scratch("parent");
        let (one, two) = (Tree::create(&mount).unwrap(), Tree::create(&mount).unwrap());
        fs::remove_dir(one.group.path()).unwrap();
        remove_parent(one.group.path()).unwrap();
        assert!(two.group.path().exists());
        fs::remove_dir(two.group.path()).unwrap();
        remove_parent(two.group.path()).unwrap();
        assert!(!mount.join(PARENT).exists());
        fs::remove_dir_all(mount).unwrap();
    }
}
