//! The cgroup v2 hierarchy of this host.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Why a cgroup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The list of mounts could not be read.
    #[error("cannot read {path}: {source}")]
    Mounts {
        /// The file with the list of mounts.
        path: &'static str,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// No cgroup2 file system is mounted.
    #[error(
        "no cgroup v2 is mounted on this host: the kernel attaches Ebb's programs to cgroup v2 directories only \
         (mount one beside v1 with: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified)"
    )]
    NotMounted,
    /// The directory does not exist.
    #[error("cgroup {path}: {source}")]
    Missing {
        /// The directory.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The directory is not a cgroup.
    #[error(
        "cgroup {path}: not a cgroup v2 directory (it has no cgroup.procs); \
         the cgroup v2 directories of this host are under {mount}"
    )]
    NotACgroup {
        /// The directory.
        path: PathBuf,
        /// The mount point of cgroup v2.
        mount: PathBuf,
    },
}

const MOUNTS: &str = "/proc/self/mountinfo";

/// Returns the mount point of cgroup v2: usually `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` if cgroup v1 is mounted,
/// too.
///
/// # Errors
/// The mounts cannot be read, or no cgroup v2 is mounted.
pub fn v2_mount() -> Result<PathBuf, CgroupError> {
    let mounts = fs::read_to_string(MOUNTS).map_err(|source| CgroupError::Mounts {
        path: MOUNTS,
        source,
    })?;
    mount_in(&mounts).ok_or(CgroupError::NotMounted)
}

/// Returns the mount point of the first file system of type `cgroup2` in the text of a mountinfo file
/// (proc_pid_mountinfo(5)).
fn mount_in(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (fields, file_system) = line.split_once(" - ")?;
        let point = fields.split(' ').nth(4)?;
        (file_system.split(' ').next()? == "cgroup2")
            .then(|| PathBuf::from(point.replace("\\040", " ")))
    })
}

/// Checks that a directory is a cgroup v2 directory, and returns its inode: the kernel's id of the cgroup.
///
/// # Errors
/// The directory does not exist, or is not a cgroup.
pub fn id(path: &Path) -> Result<u64, CgroupError> {
    let missing = |source| CgroupError::Missing {
        path: path.to_owned(),
        source,
    };
    let directory = fs::metadata(path).map_err(missing)?;
    let mount = v2_mount()?;
    let root = fs::metadata(&mount).map_err(missing)?;
    // All cgroup v2 directories of a host are on one device; cgroup v1 directories are on other devices.
    if directory.dev() != root.dev() || !directory.is_dir() {
        return Err(CgroupError::NotACgroup {
            path: path.to_owned(),
            mount,
        });
    }
    Ok(directory.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mount_beside_v1() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/cpu rw shared:10 - cgroup cgroup rw,cpu\n\
                      32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:11 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_in(mounts),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            mount_in("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"),
            None
        );
    }
}
