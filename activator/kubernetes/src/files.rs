//! The limit of open files: the activator needs two connections for each request in flight.
//!
//! Failure mode: if the limit cannot be raised, the activator runs with its current limit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to the system's maximum.
pub(crate) fn raise_limit() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _as_before = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
