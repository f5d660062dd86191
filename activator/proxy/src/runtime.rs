//! The threads that read requests.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::Limits;

/// Creates a runtime that serves listeners with these limits.
///
/// With a hard limit, requests are served in the order in which they arrive, so this order must be known. One thread
/// therefore reads the sockets in the order in which the kernel reports them ready. With two threads, each reads one
/// socket, and the scheduler can stop one of them for tens of milliseconds on a loaded machine: its request then
/// arrives late. One thread is no bottleneck with a hard limit: the backends are.
///
/// # Errors
///
/// The system provides no thread or no epoll instance.
pub fn runtime(limits: &Limits) -> io::Result<Runtime> {
    let mut builder = match limits.hard_limit {
        0 => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    builder.enable_all().build()
}
