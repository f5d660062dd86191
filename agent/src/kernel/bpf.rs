//! The commands of bpf(2) that aya lacks: replacing the program of a link, reading the cgroup of a link, and opening a
//! pinned link as a plain file descriptor.
//!
//! All unsafe code for these commands is in this module. The structures are prefixes of `union bpf_attr` in
//! `include/uapi/linux/bpf.h`, up to the last field that a command reads: the kernel treats the rest as zeros.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// The commands of bpf(2), from `enum bpf_cmd`.
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;

/// Calls bpf(2).
///
/// # Safety
/// `A` must be the structure that the command reads, without padding, and its pointers must be valid for the command.
unsafe fn bpf<A>(command: libc::c_long, attr: &mut A) -> io::Result<libc::c_long> {
    // SAFETY: `attr` is a live structure of the given size; the caller guarantees the rest.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *mut A, size_of::<A>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Calls bpf(2) for a command that returns a new file descriptor.
///
/// # Safety
/// As for [`bpf`], and the command must return a file descriptor.
unsafe fn bpf_fd<A>(command: libc::c_long, attr: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: the caller guarantees that `attr` fits the command.
    let fd = unsafe { bpf(command, attr)? };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just created the descriptor for this call; it is close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    /// Must be 0 for a cgroup link; several programs per cgroup are always allowed.
    flags: u32,
}

/// Attaches a program to a cgroup. The program remains attached until all descriptors of the link are closed and all
/// its pins are removed. Requires Linux 5.7.
pub(super) fn link_create(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        program: raw(program),
        target: raw(cgroup),
        attach_type,
        flags: 0,
    };
    // SAFETY: `LinkCreate` is the structure that the command reads; it has no pointers.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut attr) }
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Replaces the program of a link by one of the same type. Each packet is handled by exactly one of the two programs,
/// because the kernel exchanges one pointer (<https://elixir.bootlin.com/linux/v5.10/source/kernel/bpf/cgroup.c#L559>).
/// Requires Linux 5.7.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate {
        link: raw(link),
        program: raw(program),
        flags: 0,
        old_program: 0,
    };
    // SAFETY: `LinkUpdate` is the structure that the command reads; it has no pointers.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

fn path_of(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Pins a link, a program or a map at a path in a bpffs. Requires Linux 4.4, and Linux 5.7 for links.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = path_of(path)?;
    let mut attr = Object {
        path: path.as_ptr() as u64,
        fd: raw(object),
        flags: 0,
    };
    // SAFETY: `Object` is the structure that the command reads; the path outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens the object that is pinned at a path. Requires Linux 4.4.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = path_of(path)?;
    let mut attr = Object {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    // SAFETY: `Object` is the structure that the command reads; the path outlives the call.
    unsafe { bpf_fd(BPF_OBJ_GET, &mut attr) }
}

#[repr(C)]
struct GetInfo {
    fd: u32,
    length: u32,
    info: u64,
}

/// The prefix of `struct bpf_link_info` that the kernel fills for a cgroup link.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkInfo {
    pub(super) link_type: u32,
    _id: u32,
    pub(super) program: u32,
    _padding: u32,
    pub(super) cgroup: u64,
    pub(super) attach_type: u32,
    _more: u32,
}

/// Reads the kernel's information about a link. Requires Linux 5.8.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let mut attr = GetInfo {
        fd: raw(link),
        length: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: `GetInfo` is the structure that the command reads; `info` has the given length and is valid for every bit
    // pattern.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        assert_eq!(size_of::<LinkCreate>(), 16);
        assert_eq!(size_of::<LinkUpdate>(), 16);
        assert_eq!(size_of::<Object>(), 16);
        assert_eq!(size_of::<GetInfo>(), 16);
        assert_eq!(std::mem::offset_of!(LinkInfo, cgroup), 16);
    }
}
