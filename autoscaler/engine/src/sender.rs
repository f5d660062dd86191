//! The clock of a sender of reports, compared with the autoscaler's clock.
//!
//! A report says by the sender's monotonic clock when its figures were read; windows use the autoscaler's clock. The
//! offset is the smallest difference seen between arrival and reading, because that report was delayed least.
//!
//! Bias: a delay that is always there places figures too late by that delay, never too early. The means themselves
//! depend only on the sender's clock.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// Inverse of the largest clock drift: 500 ppm, the largest frequency error that NTP corrects.
const DRIFT: u32 = 2_000;

/// A difference this far from the known offset shows that one of the clocks jumped (suspend, or a restored virtual
/// machine).
const LEAP: Duration = Duration::from_secs(30);

/// State of one sender.
#[derive(Debug)]
pub(super) struct Sender {
    boot: Box<str>,
    /// Number of restarts of its clock.
    pub(super) epoch: u32,
    /// The autoscaler's time at which its clock showed zero, in ns since 1970. It may lie before 1970 in theory.
    zero: i128,
    /// When the last report arrived.
    pub(super) last_report: Timestamp,
    /// How much later the last report arrived than the least delayed one.
    pub(super) lag: Duration,
}

impl Sender {
    /// Creates a sender whose clock shows `at` ns at `now`.
    pub(super) fn new(boot: &str, now: Timestamp, at: u64) -> Self {
        Self {
            boot: boot.into(),
            epoch: 0,
            zero: nanos(now) - i128::from(at),
            last_report: now,
            lag: Duration::ZERO,
        }
    }

    /// Takes in a report whose newest figure was read at `at` ns of the sender's clock.
    pub(super) fn take_in(&mut self, boot: &str, now: Timestamp, at: u64) {
        let zero = nanos(now) - i128::from(at);
        let drift = now.since(self.last_report) / DRIFT;
        let leapt = (zero - self.zero).unsigned_abs() > LEAP.as_nanos();
        if *self.boot != *boot {
            self.boot = boot.into();
            self.epoch = self.epoch.wrapping_add(1);
            self.zero = zero;
        } else if leapt {
            self.zero = zero;
        } else {
            self.zero = zero.min(self.zero + drift.as_nanos() as i128);
        }
        self.lag = now.since(self.time(now, at));
        self.last_report = self.last_report.max(now);
    }

    /// Converts the sender's time `at` in ns to the autoscaler's time; never later than `now`.
    pub(super) fn time(&self, now: Timestamp, at: u64) -> Timestamp {
        let nanos = u64::try_from(self.zero + i128::from(at)).unwrap_or(0);
        Timestamp::new(Duration::from_nanos(nanos)).min(now)
    }
}

fn nanos(time: Timestamp) -> i128 {
    // 2^127 ns exceed any time that a clock can show.
    time.since_epoch().as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(ms: u64) -> Timestamp {
        Timestamp::new(Duration::from_millis(ms))
    }

    #[test]
    fn the_least_delayed_report_tells_the_difference() {
        let mut sender = Sender::new("b", ms(100_050), 1_000 * MS);
        // This report took 2 ms, the first one 50 ms.
        sender.take_in("b", ms(101_002), 2_000 * MS);
        assert_eq!(sender.time(ms(101_002), 2_000 * MS), ms(101_002));
        // A late report does not move the offset by more than the clocks may drift.
        sender.take_in("b", ms(102_700), 3_000 * MS);
        let time = sender.time(ms(102_700), 3_000 * MS);
        assert!(time >= ms(102_002) && time < ms(102_004), "{time:?}");
        assert_eq!(sender.lag.as_millis(), 697);
    }

    #[test]
    fn never_in_the_future() {
        let sender = Sender::new("b", ms(5_000), 1_000 * MS);
        assert_eq!(sender.time(ms(5_000), 9_000 * MS), ms(5_000));
    }

    #[test]
    fn another_boot_and_a_leap_start_afresh() {
        let mut sender = Sender::new("b", ms(100_000), 50_000 * MS);
        sender.take_in("c", ms(101_000), 10 * MS);
        assert_eq!(
            (sender.epoch, sender.time(ms(101_000), 10 * MS)),
            (1, ms(101_000))
        );
        sender.take_in("c", ms(201_000), 1_010 * MS);
        assert_eq!(sender.time(ms(201_000), 1_010 * MS), ms(201_000));
    }
}
