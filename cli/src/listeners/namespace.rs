//! Network namespaces of processes.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    thread,
};

use nix::sched::{CloneFlags, setns};

/// The identity of a network namespace: device and inode (namespaces(7)).
pub(super) type NamespaceId = (u64, u64);

/// Returns the network namespace of the calling thread.
pub(super) fn own() -> io::Result<NamespaceId> {
    id("/proc/thread-self/ns/net")
}

/// Returns the network namespace of a process.
pub(super) fn of(pid: u32) -> io::Result<NamespaceId> {
    id(&path(pid))
}

fn path(pid: u32) -> String {
    format!("/proc/{pid}/ns/net")
}

fn id(path: &str) -> io::Result<NamespaceId> {
    fs::metadata(path).map(|namespace| (namespace.dev(), namespace.ino()))
}

/// Runs `what` in the network namespace of a process. A new thread enters the namespace and ends there, so the calling
/// thread stays in its namespace, and nothing keeps the namespace alive afterwards.
///
/// # Errors
/// The process has ended, or the namespace cannot be entered: this needs `CAP_SYS_ADMIN`.
pub(super) fn inside<T: Send>(
    pid: u32,
    what: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let namespace = File::open(path(pid))?;
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("namespace".to_owned())
            .spawn_scoped(scope, || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                what()
            })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace failed")))
    })
}
