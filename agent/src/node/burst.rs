//! The times of reports during a burst. The length of a burst and the interval between reports are in
//! [`ebb_contract::burst`].

use ebb_contract::burst::{INTERVAL, LASTS};
use tokio::time::Instant;

/// The current burst, if there is one.
#[derive(Debug, Default)]
pub(super) struct Burst {
    ends: Option<Instant>,
    sent: Option<Instant>,
}

impl Burst {
    /// Records that a burst begins: the requests in flight at a pod have reached the pod's burst threshold.
    pub(super) fn begins(&mut self, now: Instant) {
        self.ends = Some(now + LASTS);
    }

    /// Returns whether a burst lasts. [`Self::is_due`] returns true only during a burst.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| now <= ends)
    }

    /// Returns whether a report is due now. If it is, records the report as sent.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let lasts = self.lasts(now);
        let rested = self.sent.is_none_or(|sent| now >= sent + INTERVAL);
        if lasts && rested {
            self.sent = Some(now);
        }
        lasts && rested
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_reported_at_once_and_for_its_window() {
        let start = Instant::now();
        let mut burst = Burst::default();
        assert!(!burst.is_due(start));
        burst.begins(start);
        let sent: Vec<_> = (0..500)
            .step_by(10)
            .filter(|ms| burst.is_due(start + Duration::from_millis(*ms)))
            .collect();
        assert_eq!(sent, [0, 50, 100, 150, 200, 250, 300]);
        // A burst begins at 510 ms and is reported. Another burst begins at 520 ms and is not reported yet, because two
        // reports are at least 50 ms apart.
        burst.begins(start + Duration::from_millis(510));
        assert!(burst.is_due(start + Duration::from_millis(510)));
        burst.begins(start + Duration::from_millis(520));
        assert!(!burst.is_due(start + Duration::from_millis(520)));
    }
}
