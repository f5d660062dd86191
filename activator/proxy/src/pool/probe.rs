//! Probes a backend that refused a connection until it accepts one.
//!
//! Bias: towards probing often at first. In the usual case the backend is a replica that has just started, and a
//! request waits for this replica. Failure mode: a backend that accepts connections and then aborts them is set aside
//! again and again, at the pace of the probes. Its requests are queued up to their time limit, and no loop spins.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use crate::backend::Backend;

/// First pause between two connection attempts. It is short compared with the start of any process, and long compared
/// with a connection attempt on the same host (0.1 ms).
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause between two connection attempts: a backend that accepts connections again waits at most this long for
/// its next request.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn until_it_accepts(pool: Weak<Shared>, backend: Arc<Backend>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        if backend.is_closed() || pool.strong_count() == 0 {
            return;
        }
        match backend.try_connect().await {
            Ok(()) => {
                if let Some(pool) = pool.upgrade() {
                    pool.take_back(&backend);
                }
                return;
            }
            Err(error) => {
                tracing::debug!(backend = backend.id(), %error, "still takes no connection");
            }
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
