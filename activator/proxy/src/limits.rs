//! The limits beyond which the proxy refuses requests.

use std::time::Duration;

use crate::budget::Account;

/// The limits of one [`Pool`](crate::Pool) and of the connections served for it.
///
/// ```
/// use ebb_proxy::Limits;
///
/// let limits = Limits { max_queued: 100, ..Limits::default() };
/// assert_eq!(limits.max_wait.as_secs(), 60);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of queued requests; further requests are answered with 503. Default 10 000, the queue depth of
    /// Knative's activator. With 0, a request that cannot be served at once is answered with 503.
    pub max_queued: usize,
    /// Maximum total time that a request is queued; after that it is answered with 504. Default 60 s: if a
    /// cold start takes longer, most clients have given up by then.
    pub max_wait: Duration,
    /// Time limit for a client to send the header of a request, and for a connection to be idle between two requests.
    /// Default 30 s. (hyper uses one timer for both.)
    pub header_timeout: Duration,
    /// Maximum header size in bytes; a longer header is answered with 431. Default 64 KiB, which has room for the
    /// largest cookies in use. The minimum is 8 KiB.
    pub max_header: usize,
    /// Maximum number of concurrent requests per backend; further requests are queued, and the oldest is served first.
    /// Default 0, which means no limit. Corresponds to Knative's `containerConcurrency`.
    pub hard_limit: u32,
    /// The account of memory for clients: connections, request heads and queued bodies. A request that needs more
    /// memory than the account has is answered with 503. Default [`Account::unbounded`].
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
