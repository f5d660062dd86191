//! A program on a cgroup.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use super::bpf;

/// Where a program runs: `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Hook {
    /// Packets to the sockets of a cgroup.
    Ingress = 0,
    /// Packets from them.
    Egress = 1,
    /// Their opening and closing.
    SockOps = 3,
    /// Their being given up by their last owner. Linux 5.9.
    SockRelease = 34,
}

/// A program on a cgroup. Dropping the last of a link takes the program off, unless it is pinned.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

/// What a link is about, by the kernel's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    /// The id of its program.
    pub(crate) program: u32,
    /// The inode of its cgroup; 0 once that is gone.
    pub(crate) cgroup: u64,
    hook: u32,
}

impl About {
    /// Whether it is a link of that hook to a cgroup that is there.
    pub(crate) fn is_on(&self, hook: Hook) -> bool {
        self.hook == hook as u32 && self.cgroup != 0
    }
}

impl Link {
    /// Puts a program on a cgroup, beside whatever others are there.
    pub(crate) fn attach(
        program: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
        hook: Hook,
    ) -> io::Result<Self> {
        bpf::link_create(program, cgroup, hook as u32).map(Self)
    }

    /// The link that is pinned there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        bpf::open(path).map(Self)
    }

    /// Lets it outlive this process.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        bpf::pin(self.0.as_fd(), path)
    }

    /// Puts another program in the place of its own; each packet sees exactly one of the two.
    pub(crate) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        bpf::link_update(self.0.as_fd(), program)
    }

    /// What it is about. An error if it is no link to a cgroup.
    pub(crate) fn about(&self) -> io::Result<About> {
        const CGROUP: u32 = 3; // BPF_LINK_TYPE_CGROUP
        let info = bpf::link_info(self.0.as_fd())?;
        if info.link_type != CGROUP {
            return Err(io::Error::other(format!(
                "a link of type {}, not to a cgroup",
                info.link_type
            )));
        }
        Ok(About {
            program: info.program,
            cgroup: info.cgroup,
            hook: info.attach_type,
        })
    }
}
