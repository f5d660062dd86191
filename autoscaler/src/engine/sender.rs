//! The clock of whoever sends reports, held against ours.
//!
//! A report says when its figures were read, by the sender's monotonic clock; windows are cut by ours. The difference
//! is the least that was seen between arrival and reading: that report was the least delayed. Bias: a delay that stays
//! puts figures that much too late, never too early, and the means themselves are by the sender's clock alone.

use std::time::Duration;

use ebb_autoscaler_core::Timestamp;

/// Clocks may drift apart by this much: 500 ppm, what NTP allows a clock to be off at the worst.
const DRIFT: u32 = 2_000;

/// A reading this much off the line says that one of the clocks leapt (suspend, a restore of a virtual machine).
const LEAP: Duration = Duration::from_secs(30);

/// What is known of a sender.
#[derive(Debug)]
pub(super) struct Sender {
    boot: Box<str>,
    /// Counts the starts of its clock.
    pub(super) epoch: u32,
    /// Our time when its clock showed zero, ns since 1970; may lie before 1970 in theory.
    zero: i128,
    /// When it was last heard.
    pub(super) heard: Timestamp,
    /// How much later than the least delayed one its last report came.
    pub(super) lag: Duration,
}

impl Sender {
    /// A sender whose clock shows `at` ns now.
    pub(super) fn new(boot: &str, now: Timestamp, at: u64) -> Self {
        Self {
            boot: boot.into(),
            epoch: 0,
            zero: nanos(now) - i128::from(at),
            heard: now,
            lag: Duration::ZERO,
        }
    }

    /// A report came in whose newest figure was read at `at` ns.
    pub(super) fn hear(&mut self, boot: &str, now: Timestamp, at: u64) {
        let zero = nanos(now) - i128::from(at);
        let drift = now.since(self.heard) / DRIFT;
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
        self.heard = self.heard.max(now);
    }

    /// Our time of its time `at`; never later than `now`.
    pub(super) fn time(&self, now: Timestamp, at: u64) -> Timestamp {
        let nanos = u64::try_from(self.zero + i128::from(at)).unwrap_or(0);
        Timestamp::new(Duration::from_nanos(nanos)).min(now)
    }
}

fn nanos(time: Timestamp) -> i128 {
    // 2^127 ns are longer than there is time.
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
        // This one took 2 ms, the first 50.
        sender.hear("b", ms(101_002), 2_000 * MS);
        assert_eq!(sender.time(ms(101_002), 2_000 * MS), ms(101_002));
        // A late one does not move it by more than the clocks may drift.
        sender.hear("b", ms(102_700), 3_000 * MS);
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
        sender.hear("c", ms(101_000), 10 * MS);
        assert_eq!(
            (sender.epoch, sender.time(ms(101_000), 10 * MS)),
            (1, ms(101_000))
        );
        sender.hear("c", ms(201_000), 1_010 * MS);
        assert_eq!(sender.time(ms(201_000), 1_010 * MS), ms(201_000));
    }
}
