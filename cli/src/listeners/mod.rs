//! Finds listening sockets whose connections cannot be counted, because they were created outside the counted cgroup.
//!
//! The kernel runs programs of the types `cgroup_skb` and `sock_ops` for the cgroup that is stored in the socket
//! (`sk_cgrp_data`). The function `cgroup_sk_alloc` of
//! [kernel/cgroup/cgroup.c](https://github.com/torvalds/linux/blob/v5.10/kernel/cgroup/cgroup.c) sets it when the
//! socket is created. Accepted sockets inherit it. It stays the same if the process moves to another cgroup, or if
//! another process gets the socket.
//!
//! Failure mode: what cannot be read is skipped, and a check that is impossible is logged once. Counting never waits
//! for this module.

mod cgroups;
mod monitor;
mod namespace;
mod port;
mod processes;
mod scan;
mod sock_diag;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use self::{cgroups::Location, processes::Process};
pub(crate) use self::{monitor::Monitor, port::on_port};

/// A listening socket that was created outside the counted cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutsideListener {
    /// The TCP port.
    pub(crate) port: u16,
    /// A process in the counted cgroup that holds the socket open; `None` if there is none.
    holder: Option<Process>,
    /// The id of the cgroup in which the socket was created.
    pub(crate) cgroup: u64,
    /// The directory of this cgroup.
    location: Location,
}

impl OutsideListener {
    /// Returns the directory of the cgroup in which the socket was created, if it is known.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match &self.location {
            Location::Directory(path) => Some(path),
            Location::Removed | Location::NotFound => None,
        }
    }
}

/// For example: `connections to port 80 are not counted: python3 (pid 17) listens with a socket that was created in
/// another cgroup, /sys/fs/cgroup/a`.
impl fmt::Display for OutsideListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connections to port {} are not counted: ", self.port)?;
        match &self.holder {
            Some(process) => write!(f, "{process} listens with a socket that was created in ")?,
            None => f.write_str("its listening socket was created in ")?,
        }
        match &self.location {
            Location::Directory(path) => write!(f, "another cgroup, {}", path.display()),
            Location::Removed => f.write_str("a cgroup that no longer exists"),
            Location::NotFound => f.write_str("another cgroup, which could not be found"),
        }
    }
}

/// The reason why some listening sockets could not be checked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The counted cgroup could not be read.
    #[error("cgroup {path}: {source}")]
    Cgroup {
        /// The directory of the cgroup.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The kernel did not list its listening sockets.
    #[error("the kernel does not list its listening sockets (sock_diag): {0}")]
    SockDiag(io::Error),
    /// The kernel listed a socket without its cgroup.
    #[error(
        "the kernel does not tell the cgroup of a socket (INET_DIAG_CGROUP_ID needs Linux 5.8 and \
         CONFIG_SOCK_CGROUP_DATA)"
    )]
    NoCgroup,
    /// The network namespace of a process could not be entered.
    #[error("the network namespace of process {pid} cannot be entered: {source}")]
    Namespace {
        /// The process.
        pid: u32,
        /// The operating system's error.
        source: io::Error,
    },
    /// The open files or the network namespace of a process could not be read.
    #[error("process {pid} cannot be inspected: {source}")]
    Process {
        /// The process.
        pid: u32,
        /// The operating system's error.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_names_its_process_its_port_and_its_cgroup() {
        let mut listener = OutsideListener {
            port: 80,
            holder: Some(Process {
                pid: 17,
                name: "python3".to_owned(),
            }),
            cgroup: 5,
            location: Location::Directory("/sys/fs/cgroup/a".into()),
        };
        assert_eq!(
            listener.to_string(),
            "connections to port 80 are not counted: python3 (pid 17) listens with a socket that was created in \
             another cgroup, /sys/fs/cgroup/a"
        );
        listener.holder = None;
        listener.location = Location::Removed;
        assert_eq!(
            listener.to_string(),
            "connections to port 80 are not counted: its listening socket was created in a cgroup that no longer exists"
        );
    }
}
