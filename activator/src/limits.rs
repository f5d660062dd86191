//! What the door puts up with before it refuses.

use std::time::Duration;

use crate::budget::Account;

/// The bounds of one [`Pool`](crate::Pool) and of the connections served for it.
///
/// ```
/// use ebb_activator::Limits;
///
/// let limits = Limits { max_queued: 100, ..Limits::default() };
/// assert_eq!(limits.max_wait.as_secs(), 60);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests that may wait at a time; one more is answered with 503. Default 10 000, the depth
    /// of the queue in Knative's activator. 0 refuses whatever cannot be served at once.
    pub max_queued: usize,
    /// How long one request may wait, in all; then it is answered with 504. Default 60 s: a cold
    /// start that takes longer outlasts the patience of most clients too.
    pub max_wait: Duration,
    /// How long a client may take to send the header of a request, and how long a connection may
    /// idle between two. Default 30 s. (The two are one clock in hyper.)
    pub header_timeout: Duration,
    /// Bytes that the header of a request may have; longer ones are answered with 431. Default
    /// 64 KiB, which leaves room for the largest cookies in use. At least 8 KiB.
    pub max_header: usize,
    /// The most requests that any one backend has at a time; the others wait, oldest first. Default 0,
    /// which is no limit. Knative's `containerConcurrency`.
    pub hard_limit: u32,
    /// The bytes that clients may take: connections, heads, bodies that wait. One more is answered with 503. Default
    /// [`Account::unbounded`].
    pub memory: Account,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_queued: 10_000,
            max_wait: Duration::from_secs(60),
            header_timeout: Duration::from_secs(30),
            max_header: 64 * 1024,
            hard_limit: 0,
            memory: Account::unbounded(),
        }
    }
}
