//! The limit on open files: raised for ebb, unchanged for the replicas.
//!
//! The activator needs two connections for each request in flight, so the usual soft limit of 1024 would allow about
//! 500 requests. Replicas get the limits that ebb was started with, because programs that use select(2) break above
//! 1024.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// The limits on open files that ebb was started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenFiles {
    soft: rlim_t,
    hard: rlim_t,
}

impl OpenFiles {
    /// Raises the soft limit to the hard limit, and returns the previous limits.
    pub(crate) fn raise() -> nix::Result<OpenFiles> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(OpenFiles { soft, hard })
    }

    /// Restores the limits in a process that is about to execute a program. Makes one system call and does nothing
    /// else, so it may be called between fork and exec.
    pub(crate) fn restore(self) -> nix::Result<()> {
        setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)
    }
}
