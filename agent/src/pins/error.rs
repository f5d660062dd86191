//! Why nothing can be pinned.

use std::{io, path::PathBuf};

/// Why the directory of pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The directory is not in a bpffs: only there can kernel objects be pinned.
    #[error("{path}: not in a bpf file system (mount one with: mount -t bpf bpf /sys/fs/bpf)")]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// It is a file, or a symbolic link, which somebody could make to lead elsewhere.
    #[error("{path}: not a directory; remove it, or name another one with --pins")]
    NoDirectory {
        /// What is there instead.
        path: PathBuf,
    },
    /// Somebody else owns it, and could exchange what is in it.
    #[error(
        "{path}: belongs to uid {uid}, must belong to root; remove it, or name another one with --pins"
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Who owns it.
        uid: u32,
    },
    /// It is a bpffs itself, and others may open it.
    #[error(
        "{path}: a whole bpf file system that others may use; name a directory in it with --pins"
    )]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error(
        "{path}: another agent counts with these pins (see /proc/locks for its process); one at a time is allowed"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A file or directory could not be made, read or removed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl PinsError {
    /// For `map_err`: what was to be done, and with what.
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
