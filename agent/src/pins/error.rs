//! Errors of the directory with the pinned kernel objects.

use std::{io, path::PathBuf};

/// Why the directory of pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The directory is not in a bpffs. Kernel objects can be pinned only in a bpffs.
    #[error("{path}: not in a bpf file system (mount one with: mount -t bpf bpf /sys/fs/bpf)")]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// The path is a file or a symbolic link. Another user could redirect a link.
    #[error("{path}: not a directory; remove it, or name another one with --pins")]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Another user owns the directory and could replace its contents.
    #[error(
        "{path}: belongs to uid {uid}, must belong to root; remove it, or name another one with --pins"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// The user id of the owner.
        uid: u32,
    },
    /// The directory is the root of a bpffs, and other users may open it.
    #[error(
        "{path}: a whole bpf file system that others may use; name a directory in it with --pins"
    )]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// Another process uses the directory of pins.
    #[error(
        "{path}: another agent counts with these pins (see /proc/locks for its process); one at a time is allowed"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file or directory could not be created, read or removed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

impl PinsError {
    /// Returns a converter for `map_err`, which adds the action and the path to an I/O error.
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
