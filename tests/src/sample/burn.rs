//! Work of a known size: CPU time spent by the thread that answers, as a handler that computes would.
//!
//! By the thread's own clock and not the wall's: what other programs take meanwhile is not work.
//! Other connections of the thread wait, as they would for that handler.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Spends so much CPU time. Nothing where the clock cannot be read, which no Linux refuses.
pub(super) fn burn(time: Duration) {
    if time.is_zero() {
        return;
    }
    let Some(start) = spent() else { return };
    while spent().is_some_and(|now| now.saturating_sub(start) < time) {
        std::hint::spin_loop();
    }
}

/// CPU time of this thread so far.
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
