//! Raises the limit of open files, because each request in flight needs two connections: one from the client and one to
//! the pod.
//!
//! Failure mode: if the limit cannot be raised, the activator runs with its current limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard limit of this process.
pub(crate) fn raise_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _as_before = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
