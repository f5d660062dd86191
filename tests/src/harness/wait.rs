//! Waiting without an event to wait on: a condition is checked every few milliseconds until a deadline.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two checks: short compared with anything a test measures.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls `found` until it returns a value or the time is over.
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

/// Calls `found` until it returns a value.
///
/// # Panics
/// If there is no value `within` this time; `what` names the awaited condition.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, found: impl FnMut() -> Option<T>) -> T {
    match poll(within, found) {
        Some(answer) => answer,
        None => panic!("{what}: not within {within:?}"),
    }
}

/// Returns a port on which nothing listens. The kernel hands out ephemeral ports in turn, so no other process gets the port
/// in the moment before its use.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
