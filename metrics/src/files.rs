//! The limit of open files. Each connection needs a file, so the usual soft limit of 1024 is too low for a server.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// The limits of open files that the program was started with.
#[derive(Debug, Clone, Copy)]
pub struct OpenFiles {
    soft: rlim_t,
    hard: rlim_t,
}

impl OpenFiles {
    /// Raises the soft limit to the hard limit, and returns the previous limits.
    ///
    /// # Errors
    /// If the operating system refuses the new limit. The program can run with the previous limit.
    pub fn raise() -> nix::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(Self { soft, hard })
    }

    /// Restores the limits in a process that is about to execute another program, because programs that use select(2)
    /// fail above 1024. Makes one system call and does nothing else, so it may be called between fork and exec.
    ///
    /// # Errors
    /// If the operating system refuses the limit.
    pub fn restore(self) -> nix::Result<()> {
        setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)
    }
}
