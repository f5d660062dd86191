//! The directories of cgroup v2: the counted cgroup with its descendants, and the directory of a cgroup by its id.
//!
//! The id of a cgroup is the inode of its directory. Directory entries contain it, so no directory needs a `stat`.
//!
//! Failure mode: cgroups that are removed during a walk are skipped.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::{DirEntryExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use ebb_agent::cgroup::v2_mount;
use nix::errno::Errno;

/// The id of the root of the cgroup v2 hierarchy (`kernfs_create_root` in fs/kernfs/dir.c).
const ROOT: u64 = 1;

/// Maximum number of directories that [`locate`] reads. A busy node has a few thousand; 100 000 take about a second.
const MOST_DIRECTORIES: usize = 100_000;

/// A cgroup and its descendants at one moment.
#[derive(Debug, Default)]
pub(super) struct Subtree {
    /// The ids of the cgroups.
    pub(super) ids: HashSet<u64>,
    /// The processes in the cgroups. (In threaded cgroups: their threads.)
    pub(super) processes: Vec<u32>,
}

impl Subtree {
    /// Reads the subtree below `root`.
    ///
    /// # Errors
    /// `root` does not exist.
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut subtree = Self::default();
        subtree.ids.insert(fs::metadata(root)?.ino());
        let mut unread = vec![root.to_owned()];
        while let Some(directory) = unread.pop() {
            subtree.processes.extend(processes(&directory));
            for (id, path) in children(&directory) {
                subtree.ids.insert(id);
                unread.push(path);
            }
        }
        Ok(subtree)
    }
}

/// Returns the processes in a cgroup, without those in its descendants.
fn processes(directory: &Path) -> Vec<u32> {
    let text = match fs::read_to_string(directory.join("cgroup.procs")) {
        // A threaded cgroup has only a list of threads. Each thread has a directory in /proc, as a process has.
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {
            fs::read_to_string(directory.join("cgroup.threads"))
        }
        text => text,
    };
    parse(&text.unwrap_or_default())
}

/// Parses a list of process ids. A process outside this pid namespace has the id 0 and is skipped.
fn parse(text: &str) -> Vec<u32> {
    text.lines()
        .filter_map(|line| line.parse().ok())
        .filter(|pid| *pid != 0)
        .collect()
}

/// Returns the ids and directories of the children of a cgroup.
fn children(directory: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| (entry.ino(), entry.path()))
        .collect()
}

/// Where a cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// Its directory.
    Directory(PathBuf),
    /// It was removed. A socket keeps the id of its cgroup after the removal.
    Removed,
    /// It is not below the mount point, or not among the first [`MOST_DIRECTORIES`] directories.
    NotFound,
}

/// Finds cgroups by their ids.
pub(super) fn locate(ids: &HashSet<u64>) -> HashMap<u64, Location> {
    match v2_mount() {
        Ok(mount) if !ids.is_empty() => locate_below(&mount, ids, MOST_DIRECTORIES),
        _ => ids.iter().map(|id| (*id, Location::NotFound)).collect(),
    }
}

/// Finds the directories with these inodes at and below `mount`, and reads at most `most` directories.
fn locate_below(mount: &Path, ids: &HashSet<u64>, most: usize) -> HashMap<u64, Location> {
    let top = fs::metadata(mount).map_or(0, |mount| mount.ino());
    let mut found = HashMap::new();
    let mut unread = vec![(top, mount.to_owned())];
    let mut read = 0;
    while let Some((id, directory)) = unread.pop() {
        unread.extend(children(&directory));
        read += 1;
        if ids.contains(&id) {
            found.insert(id, Location::Directory(directory));
        }
        if found.len() == ids.len() || read == most {
            break;
        }
    }
    // In a cgroup namespace, the mount point can be a part of the hierarchy.
    let all_read = unread.is_empty() && top == ROOT;
    for id in ids {
        found.entry(*id).or_insert(match all_read {
            true => Location::Removed,
            false => Location::NotFound,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates directories `a/b` in an ordinary file system. Returns them, with the folder that is removed at the end.
    fn directories() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let outer = folder.path().join("a");
        (folder, outer, inner)
    }

    fn id(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn a_subtree_has_the_descendants_and_their_processes() {
        let (folder, outer, inner) = directories();
        fs::write(folder.path().join("cgroup.procs"), "1\n0\n").unwrap();
        fs::write(inner.join("cgroup.procs"), "22\n333\n").unwrap();
        let mut subtree = Subtree::read(folder.path()).unwrap();
        subtree.processes.sort_unstable();
        assert_eq!(subtree.processes, [1, 22, 333]);
        let ids = [folder.path(), &outer, &inner].map(id);
        assert_eq!(subtree.ids, HashSet::from(ids));
        assert!(Subtree::read(&folder.path().join("gone")).is_err());
    }

    #[test]
    fn a_directory_is_found_by_its_id_within_the_limit() {
        let (folder, _, inner) = directories();
        let wanted = HashSet::from([id(&inner), 0]);
        let found = locate_below(folder.path(), &wanted, 100);
        assert_eq!(found[&id(&inner)], Location::Directory(inner.clone()));
        // The folder is not the root of a hierarchy, so the other directory may exist elsewhere.
        assert_eq!(found[&0], Location::NotFound);
        let found = locate_below(folder.path(), &wanted, 1);
        assert_eq!(found[&id(&inner)], Location::NotFound);
    }
}
