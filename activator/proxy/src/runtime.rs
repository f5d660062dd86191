//! The threads that read requests from sockets.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::Limits;

/// Creates a runtime for listeners with these limits.
///
/// With a hard limit, requests must be served in their order of arrival. One thread then reads all sockets, in the
/// order in which the kernel reports them as ready. With two threads, the order would be lost: each thread reads one
/// socket, and on a loaded machine the scheduler can suspend one thread for tens of milliseconds, so that the request
/// of this thread is handled late. With a hard limit, the backends are the bottleneck, not this thread.
///
/// # Errors
///
/// The operating system provides no thread or no epoll instance.
pub fn runtime(limits: &Limits) -> io::Result<Runtime> {
    let mut builder = match limits.hard_limit {
        0 => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    builder.enable_all().build()
}
