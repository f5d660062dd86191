//! The time for which this replica has been receiving reports of the activators without a gap.
//!
//! A missing report shows a failed activator only if this replica could have received the report. A replica that has
//! just started, or that was paused for some seconds (SIGSTOP, a frozen virtual machine, no CPU), has received no
//! reports, whether the activators work or not.
//!
//! Bias: a wrongly assumed gap only makes this replica wait longer before it removes an activator from the request
//! path.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

use crate::series::STALE_AFTER;

/// Time without a call of the engine after which the process counts as having been paused (for example by SIGSTOP). The
/// engine is called ten times per second.
const STALL: Duration = Duration::from_secs(1);

/// If this replica has been listening for this time and no activator has reported from an address in an EndpointSlice,
/// the activator with this address counts as gone. An activator reports once per second. After a change of leader, the
/// activator may need up to 5 s to find the address of the new leader, and up to 5 s to open a connection. So 15 s = 10
/// s + 5 s of margin.
const UNREPORTED_AFTER: Duration = Duration::from_secs(15);

/// The current period in which this replica has been receiving reports of activators without a gap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListeningTime {
    /// Start of the period, and the time of the last call of the engine, up to which the period has lasted.
    span: Option<(Timestamp, Timestamp)>,
}

impl ListeningTime {
    /// Records that the engine was running at `now`.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let since = match self.span {
            Some((since, last)) if now.since(last) <= STALL => since,
            _ => now,
        };
        self.span = Some((since, now));
    }

    /// Returns the time for which, at `now`, this replica has been listening without a gap.
    pub(super) fn lasted(&self, now: Timestamp) -> Duration {
        match self.span {
            Some((since, last)) if now.since(last) <= STALL => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// Returns whether an activator whose last report arrived at `last` is stale: it has not reported for
    /// [`STALE_AFTER`], although this replica has been listening for at least [`STALE_AFTER`].
    pub(super) fn is_stale(&self, last: Timestamp, now: Timestamp) -> bool {
        now.since(last).min(self.lasted(now)) >= STALE_AFTER
    }

    /// Returns whether this replica has been listening long enough: an activator counts as gone if its address is in an
    /// EndpointSlice and it has never reported to this replica.
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
        // The process was paused for five seconds, so the missing reports must not make the activator stale.
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
