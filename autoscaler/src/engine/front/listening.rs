//! Since when this replica has been listening to the activators without a gap.
//!
//! Silence proves something only while somebody listens. A replica that has just started, or was stopped for some
//! seconds (SIGSTOP, a frozen virtual machine, no CPU), has heard nobody, and that says nothing about the activators.
//!
//! Bias: a gap that was none only makes this replica wait longer before it takes an activator out.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

use super::slice::Heard;
use crate::engine::series::SILENT_AFTER;

/// The engine is called ten times a second. If it was not called for this long, it was stopped.
const STALL: Duration = Duration::from_secs(1);

/// An address in a slice from which no activator has reported since this replica began to listen counts as gone after
/// this time. An activator reports once a second, but after a change of leader it may first have to find the new
/// replica's address (up to 5 s) and to open a connection (up to 5 s), so three reports of silence are not enough.
const UNHEARD_AFTER: Duration = Duration::from_secs(15);

/// When this replica listened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listening {
    /// Since when without a gap, and when it was last known to.
    span: Option<(Timestamp, Timestamp)>,
}

impl Listening {
    /// The engine is at work at `now`.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let since = match self.span {
            Some((since, last)) if now.since(last) <= STALL => since,
            _ => now,
        };
        self.span = Some((since, now));
    }

    /// How long it has been listening without a gap at `now`.
    pub(super) fn lasted(&self, now: Timestamp) -> Duration {
        match self.span {
            Some((since, last)) if now.since(last) <= STALL => now.since(since),
            _ => Duration::ZERO,
        }
    }

    /// Whether an activator has been silent for too long, while this replica was listening.
    pub(super) fn is_silent(&self, activator: &Heard, now: Timestamp) -> bool {
        now.since(activator.at).min(self.lasted(now)) >= SILENT_AFTER
    }

    /// Whether an address of which nothing was ever heard counts as gone.
    pub(super) fn is_unheard(&self, now: Timestamp) -> bool {
        self.lasted(now) >= UNHEARD_AFTER
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_stall_begins_it_anew() {
        let mut listening = Listening::default();
        let at = |millis: u64| Timestamp::new(Duration::from_millis(1_000_000 + millis));
        for tenth in 0..100 {
            listening.tick(at(tenth * 100));
        }
        assert_eq!(listening.lasted(at(10_000)), Duration::from_secs(10));
        let heard = Heard {
            name: "a".to_owned(),
            address: [10, 0, 0, 1].into(),
            at: at(9_900),
            leaving: false,
            doors: BTreeMap::new(),
        };
        // Stopped for five seconds.
        listening.tick(at(15_000));
        assert!(!listening.is_silent(&heard, at(15_000)));
        for tenth in 150..185 {
            listening.tick(at(tenth * 100));
            assert!(!listening.is_silent(&heard, at(tenth * 100)), "{tenth}");
        }
        listening.tick(at(18_500));
        assert!(listening.is_silent(&heard, at(18_500)));
        assert!(!listening.is_unheard(at(18_500)));
    }
}
