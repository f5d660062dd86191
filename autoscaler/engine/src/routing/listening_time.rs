//! Since when this replica has been listening to the activators without a gap.
//!
//! A missing report proves something only while this replica listens. A replica that has just started, or that was
//! stopped for some seconds (SIGSTOP, a frozen virtual machine, no CPU), has received no reports, and that says nothing
//! about the activators.
//!
//! Bias: a gap that is assumed wrongly only makes this replica wait longer before it removes an activator from the
//! path.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

use crate::series::STALE_AFTER;

/// The engine is called ten times a second. If it was not called for longer than this, the process was stopped.
const STALL: Duration = Duration::from_secs(1);

/// An address in a slice counts as gone after this time if no activator has reported from it since this replica began
/// to listen. An activator reports once a second. After a change of leader it may first have to find the new replica's
/// address (up to 5 s) and to open a connection (up to 5 s), so three missing reports are not enough.
const UNREPORTED_AFTER: Duration = Duration::from_secs(15);

/// The last period without a gap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListeningTime {
    /// Its begin, and the last time at which the engine was called.
    span: Option<(Timestamp, Timestamp)>,
}

impl ListeningTime {
    /// Notes that the engine was running at `now`.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let since = match self.span {
            Some((since, last)) if now.since(last) <= STALL => since,
            _ => now,
        };
        self.span = Some((since, now));
    }

    /// Returns how long this replica has been listening without a gap at `now`.
    pub(super) fn lasted(&self, now: Timestamp) -> Duration {
        match self.span {
            Some((since, last)) if now.since(last) <= STALL => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// Returns whether an activator with the last report at `last` has not reported for too long while this replica was
    /// listening.
    pub(super) fn is_stale(&self, last: Timestamp, now: Timestamp) -> bool {
        now.since(last).min(self.lasted(now)) >= STALE_AFTER
    }

    /// Returns whether an address without any report counts as gone.
    pub(super) fn is_unreported_gone(&self, now: Timestamp) -> bool {
        self.lasted(now) >= UNREPORTED_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_begins_it_anew() {
        let mut listening = ListeningTime::default();
        let at = |millis: u64| Timestamp::new(Duration::from_millis(1_000_000 + millis));
        for tenth in 0..100 {
            listening.tick(at(tenth * 100));
        }
        assert_eq!(listening.lasted(at(10_000)), Duration::from_secs(10));
        let last = at(9_900);
        // Stopped for five seconds.
        listening.tick(at(15_000));
        assert!(!listening.is_stale(last, at(15_000)));
        for tenth in 150..185 {
            listening.tick(at(tenth * 100));
            assert!(!listening.is_stale(last, at(tenth * 100)), "{tenth}");
        }
        listening.tick(at(18_500));
        assert!(listening.is_stale(last, at(18_500)));
        assert!(!listening.is_unreported_gone(at(18_500)));
    }
}
