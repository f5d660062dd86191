//! Conversion of the clock of a report's sender to the clock of the autoscaler.
//!
//! A report contains the time at which the counters were read, by the monotonic clock of the sender. The metric windows
//! use the clock of the autoscaler. The offset between the clocks is the smallest difference seen between the arrival
//! and the reading of a report, because the report with the smallest difference was delayed least.
//!
//! Bias: if every report is delayed, the measurements are placed too late by the smallest delay, never too early. The
//! mean values depend only on the clock of the sender.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// Inverse of the maximum clock drift: 1/2000 = 500 ppm, the largest frequency error that NTP corrects.
const DRIFT: u32 = 2_000;

/// If a report deviates from the known offset by more than this time, one of the clocks has jumped (suspend, or a
/// restored virtual machine).
const LEAP: Duration = Duration::from_secs(30);

/// Clock state of one sender of reports.
#[derive(Debug)]
pub(super) struct Sender {
    boot: Box<str>,
    /// Number of restarts of the sender's clock (changes of `boot`).
    pub(super) epoch: u32,
    /// Time at which the clock of the sender showed zero, by the clock of the autoscaler, in ns since 1970. In theory
    /// the time can be before 1970.
    zero: i128,
    /// Arrival time of the last report.
    pub(super) last_report: Timestamp,
    /// Additional delay of the last report, compared with the least delayed report.
    pub(super) lag: Duration,
}

impl Sender {
    /// Creates a sender whose own clock shows `at` ns when the clock of the autoscaler shows `now`.
    pub(super) fn new(boot: &str, now: Timestamp, at: u64) -> Self {
        Self {
            boot: boot.into(),
            epoch: 0,
            zero: nanos(now) - i128::from(at),
            last_report: now,
            lag: Duration::ZERO,
        }
    }

    /// Updates the clock offset from a report whose newest counters were read at `at` ns of the sender's clock.
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
    // The cast cannot overflow: 2^127 ns is longer than any time that a clock can show.
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
        // The first report arrived 50 ms after its counters were read. The second report arrives only 2 ms after the
        // reading.
        sender.take_in("b", ms(101_002), 2_000 * MS);
        assert_eq!(sender.time(ms(101_002), 2_000 * MS), ms(101_002));
        // A late report does not move the offset by more than the maximum clock drift.
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
