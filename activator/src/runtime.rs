//! The threads that read requests.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::Limits;

/// A runtime to serve doors with these limits on.
///
/// With a hard limit, requests wait and are served in the order in which they came, so that order has to be known: one
/// thread takes the sockets in the order in which the kernel says that they are ready. Two threads would each read one,
/// and whichever the scheduler stops in between, for tens of milliseconds on a loaded machine, comes late with it.
/// One thread is no bottleneck there: the backends are.
///
/// # Errors
///
/// The system gives no thread or no epoll instance.
pub fn runtime(limits: &Limits) -> io::Result<Runtime> {
    let mut builder = match limits.hard_limit {
        0 => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    builder.enable_all().build()
}
