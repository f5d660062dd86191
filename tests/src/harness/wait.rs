//! Waiting for what has no event to wait on: asked again every few milliseconds, to a deadline.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is asked again: short beside anything a test measures.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until `found` has an answer, or gives up.
pub(crate) fn poll<T>(within: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = found();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(PAUSE);
    }
}

/// Asks until `found` has an answer.
///
/// # Panics
/// There is none `within` the time; `what` names what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, found: impl FnMut() -> Option<T>) -> T {
    match poll(within, found) {
        Some(answer) => answer,
        None => panic!("{what}: not within {within:?}"),
    }
}

/// A port nobody listens on. The kernel hands ephemeral ports out in turn, so nobody else gets it
/// in the moment between this and its use.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
