//! Work of a known size: CPU time used by the thread that answers, like a handler that computes.
//!
//! The thread's CPU clock decides, not the wall clock: time used by other programs is not work. Other connections of the
//! thread wait, as they would for a computing handler.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Uses this much CPU time. Does nothing if the clock cannot be read, which no Linux refuses.
pub(super) fn burn(time: Duration) {
    if time.is_zero() {
        return;
    }
    let Some(start) = spent() else { return };
    while spent().is_some_and(|now| now.saturating_sub(start) < time) {
        std::hint::spin_loop();
    }
}

/// CPU time used by this thread so far.
fn spent() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .ok()
        .map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_is_spent_and_little_more() {
        let start = spent().unwrap();
        burn(Duration::from_millis(20));
        let spent = spent().unwrap() - start;
        assert!(spent >= Duration::from_millis(20), "{spent:?}");
        assert!(spent < Duration::from_millis(40), "{spent:?}");
    }
}
