//! Links of programs to cgroups.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use super::bpf;

/// The hook where a program runs: `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Hook {
    /// The program runs for packets to the sockets of a cgroup.
    Ingress = 0,
    /// The program runs for packets from the sockets of a cgroup.
    Egress = 1,
    /// The program runs when the sockets of a cgroup open and close their connections.
    SockOps = 3,
    /// The program runs when the last owner of a cgroup's socket releases it. Requires Linux 5.9.
    SockRelease = 34,
}

/// The link of a program to a cgroup. When the last descriptor of the link is closed, the kernel detaches the program,
/// unless the link is pinned.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

/// The kernel's information about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkInfo {
    /// The id of the program.
    pub(crate) program: u32,
    /// The inode of the cgroup; 0 if the cgroup is deleted.
    pub(crate) cgroup: u64,
    hook: u32,
}

impl LinkInfo {
    /// Returns whether the link is on this hook of an existing cgroup.
    pub(crate) fn is_on(&self, hook: Hook) -> bool {
        self.hook == hook as u32 && self.cgroup != 0
    }
}

impl Link {
    /// Attaches a program to a cgroup, beside the programs that are already attached.
    pub(crate) fn attach(
        program: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        hook: Hook,
    ) -> io::Result<Self> {
        bpf::link_create(program, cgroup, hook as u32).map(Self)
    }

    /// Opens a pinned link.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        bpf::open(path).map(Self)
    }

    /// Pins the link, so that it outlives this process.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        bpf::pin(self.0.as_fd(), path)
    }

    /// Replaces the program of the link. Each packet is handled by exactly one of the two programs.
    pub(crate) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        bpf::link_update(self.0.as_fd(), program)
    }

    /// Reads the kernel's information about the link. Returns an error if it is not a cgroup link.
    pub(crate) fn info(&self) -> io::Result<LinkInfo> {
        const CGROUP: u32 = 3; // BPF_LINK_TYPE_CGROUP
        let info = bpf::link_info(self.0.as_fd())?;
        if info.link_type != CGROUP {
            return Err(io::Error::other(format!(
                "a link of type {}, which is not a link to a cgroup",
                info.link_type
            )));
        }
        Ok(LinkInfo {
            program: info.program,
            cgroup: info.cgroup,
            hook: info.attach_type,
        })
    }
}
