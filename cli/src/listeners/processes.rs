//! Processes and the sockets that they hold open (proc_pid_fd(5)).
//!
//! Failure mode: processes that end during a scan are skipped, and so are zombies, which have no open files.

use std::{fmt, fs, io};

use nix::errno::Errno;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// The name of the program, at most 15 bytes (proc_pid_comm(5)).
    pub(super) name: String,
}

impl Process {
    /// Returns the process with this id. If the process has ended, its name is a question mark.
    pub(super) fn named(pid: u32) -> Self {
        let name = fs::read(format!("/proc/{pid}/comm"));
        let name = name.map_or("?".to_owned(), |name| {
            // A process can choose its name, so control characters are not passed on to the terminal.
            let name = String::from_utf8_lossy(&name).trim_end().to_owned();
            name.replace(char::is_control, "?")
        });
        Self { pid, name }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Calls `found` with the inode of each socket that the process holds open.
///
/// # Errors
/// The open files cannot be read, for example without the permission to do so. A process that has ended is no error.
pub(super) fn sockets(pid: u32, mut found: impl FnMut(u32)) -> io::Result<()> {
    let Some(files) = unless_ended(fs::read_dir(format!("/proc/{pid}/fd")))? else {
        return Ok(());
    };
    // An error in the middle of the list means that the process has just ended, or closed a file.
    for file in files.flatten() {
        let target = fs::read_link(file.path()).unwrap_or_default();
        if let Some(inode) = target.to_str().and_then(socket) {
            found(inode);
        }
    }
    Ok(())
}

/// Parses the target of a link in /proc/PID/fd, such as `socket:[17]`. Returns the inode if the file is a socket.
fn socket(target: &str) -> Option<u32> {
    let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
    inode.parse().ok()
}

/// Returns `None` if the error means that the process has ended: ENOENT without its directory in /proc, or ESRCH if it
/// ended during the call.
pub(super) fn unless_ended<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::ESRCH as i32) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _, process};

    use super::*;

    #[test]
    fn only_sockets_have_the_inode_of_a_socket() {
        assert_eq!(socket("socket:[17]"), Some(17));
        for other in [
            "pipe:[17]",
            "/dev/null",
            "socket:[",
            "socket:[x]",
            "socket:[99999999999]",
        ] {
            assert_eq!(socket(other), None, "{other}");
        }
    }

    #[test]
    fn the_sockets_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = socket(link.to_str().unwrap()).unwrap();
        let mut found = Vec::new();
        sockets(process::id(), |inode| found.push(inode)).unwrap();
        assert!(found.contains(&inode), "{found:?} without {inode}");
    }

    #[test]
    fn a_process_that_has_ended_is_no_error() {
        // The highest possible process id is 2^22 (PID_MAX_LIMIT of include/linux/threads.h).
        sockets(u32::MAX, |_| panic!("no such process")).unwrap();
        assert_eq!(Process::named(u32::MAX).to_string(), "? (pid 4294967295)");
    }
}
