//! Asks a backend that refused a connection until it accepts one.
//!
//! Bias: towards asking often at first, because a copy that has just been started is the usual
//! case and a request waits for it. Failure mode: one that accepts and then breaks off goes in
//! and out of the pool at this pace; its requests wait, up to their limit, rather than spin.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use crate::backend::Backend;

/// Short against the start of any process, long against a connect on the same host (0.1 ms).
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest a backend that is back waits for its next request.
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
