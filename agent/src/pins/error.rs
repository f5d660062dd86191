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
    /// Another process uses it.
    #[error("{path}: another agent counts with these pins; one at a time is allowed")]
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
