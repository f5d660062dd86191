//! The cumulative figures of one pod, from report to report.
//!
//! Bias: a report that contradicts itself is ignored, never corrected, and the next report is compared with the last
//! one that made sense. A new series counts from its beginning if that was just now, otherwise from its first report:
//! nobody knows how the earlier figures were spread over the time before.

use std::time::Duration;

use ebb_autoscaler_core::{Feed, Timestamp};
use ebb_contract::Pod;

/// Counters that began at most this long ago are counted from their beginning: this covers two reports, one of them
/// lost.
const YOUNG: Duration = Duration::from_secs(3);

/// A pod without a report for this long has no current metrics: three reports of one second each, and half a second for
/// the transfer.
pub(super) const STALE_AFTER: Duration = Duration::from_millis(3500);

/// Time after the last figures from which a pod's last figures are assumed to continue: a report of one second that is
/// half a second late. Without this, the delay would look like idle seconds.
const EXTENDED_AFTER: Duration = Duration::from_millis(1500);

/// More requests in flight than a node can have connections and streams: 2^32 shows that a counter is corrupt.
const ABSURD: f64 = 4_294_967_296.0;

/// The last report about a pod.
#[derive(Debug)]
pub(super) struct Series {
    epoch: u32,
    since: u64,
    at: u64,
    integral: u64,
    started: u64,
    pub(super) in_flight: u64,
    pub(super) opaque: u64,
    /// Position of the figures in the workload's windows.
    pub(super) feed: Feed,
    /// Mean concurrency between the last two reports.
    mean: f64,
    /// Requests started a second between the last two reports.
    rate: f64,
    /// Whether two reports have given a span yet.
    measured: bool,
    /// When the last report arrived.
    pub(super) last_report: Timestamp,
}

/// The figures that a report adds to a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// Mean concurrency.
    pub(super) concurrency: f64,
    /// Requests started, as a count.
    pub(super) requests: f64,
}

/// The result of comparing a report with the report before.
#[derive(Debug, PartialEq)]
pub(super) enum Update {
    /// New figures since the last report.
    Span(Span),
    /// Nothing to compare with yet: the next report is compared with this one.
    Baseline,
    /// A report that a later one has overtaken.
    Old,
    /// Figures that contradict themselves or earlier ones.
    Senseless,
}

impl Series {
    /// Begins a series with its first report. `read` is `pod.at` by the autoscaler's clock. `is_new`: whether nothing
    /// was served before the counters began.
    pub(super) fn begin(
        epoch: u32,
        pod: &Pod<'_>,
        read: Timestamp,
        now: Timestamp,
        is_new: bool,
    ) -> (Self, Update) {
        let mut series = Self {
            epoch,
            since: pod.since,
            at: pod.since,
            integral: 0,
            started: 0,
            in_flight: 0,
            opaque: 0,
            feed: Feed::starting(read),
            mean: 0.0,
            rate: 0.0,
            measured: false,
            last_report: now,
        };
        let Some(age) = pod.at.checked_sub(pod.since) else {
            return (series, Update::Senseless);
        };
        let age = Duration::from_nanos(age);
        if age <= YOUNG {
            series.feed = match is_new {
                true => Feed::beginning(read - age),
                false => Feed::starting(read - age),
            };
            let update = series.take(pod, now);
            return (series, update);
        }
        series.keep(pod, now);
        (series, Update::Baseline)
    }

    /// Returns whether `pod` continues these counters; otherwise the counters have begun again.
    pub(super) fn continues(&self, epoch: u32, pod: &Pod<'_>) -> bool {
        self.epoch == epoch && self.since == pod.since
    }

    /// Takes in a further report of the same counters.
    pub(super) fn take(&mut self, pod: &Pod<'_>, now: Timestamp) -> Update {
        if pod.at <= self.at {
            return Update::Old;
        }
        let seconds = (pod.at - self.at) as f64 / 1e9;
        // A withdrawn probe request may have begun in an earlier span, so the difference can be negative.
        let integral = pod.integral.wrapping_sub(self.integral).cast_signed() as f64 / 1e9;
        let concurrency = (integral / seconds).max(0.0);
        let requests = pod.started.wrapping_sub(self.started).cast_signed().max(0) as f64;
        if concurrency > ABSURD || requests > ABSURD * seconds.max(1.0) {
            return Update::Senseless;
        }
        self.measured = true;
        self.mean = concurrency;
        self.rate = requests / seconds;
        self.keep(pod, now);
        Update::Span(Span {
            concurrency,
            requests,
        })
    }

    fn keep(&mut self, pod: &Pod<'_>, now: Timestamp) {
        self.at = pod.at;
        self.integral = pod.integral;
        self.started = pod.started;
        self.in_flight = pod.in_flight;
        self.opaque = pod.opaque;
        self.last_report = now;
    }

    /// Returns the figures to assume from the last reported time up to `now`, if that time is more than `EXTENDED_AFTER`
    /// ago.
    pub(super) fn to_extend(&self, now: Timestamp) -> Option<Span> {
        let unreported = now.since(self.feed.upto());
        (self.measured && unreported > EXTENDED_AFTER).then_some(Span {
            concurrency: self.mean,
            requests: self.rate * unreported.as_secs_f64(),
        })
    }

    /// Returns whether two reports have given a span yet.
    pub(super) fn is_measured(&self) -> bool {
        self.measured
    }

    /// Returns whether there has been no report for too long, or not yet enough reports to measure anything.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        !self.measured || now.since(self.last_report) > STALE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pod(at: u64, integral: u64, started: u64) -> Pod<'static> {
        Pod {
            since: 100 * SECOND,
            at: at * SECOND,
            integral,
            started,
            ..Pod::default()
        }
    }

    fn begin(pod: &Pod<'_>) -> (Series, Update) {
        let now = Timestamp::from_secs(5_000);
        Series::begin(0, pod, now, now, false)
    }

    #[test]
    fn counters_that_have_just_begun_count_from_their_beginning() {
        let (series, update) = begin(&pod(102, 8 * SECOND, 6));
        let span = Span {
            concurrency: 4.0,
            requests: 6.0,
        };
        assert_eq!((update, series.rate), (Update::Span(span), 3.0));
    }

    #[test]
    fn older_ones_from_their_first_report() {
        let (mut series, update) = begin(&pod(900, 8_000 * SECOND, 600));
        assert_eq!(update, Update::Baseline);
        let now = Timestamp::from_secs(5_002);
        let Update::Span(span) = series.take(&pod(902, 8_010 * SECOND, 610), now) else {
            panic!("no span");
        };
        assert_eq!((span.concurrency, span.requests), (5.0, 10.0));
    }

    #[test]
    fn the_integral_wraps_and_may_fall_a_little() {
        let now = Timestamp::from_secs(5_001);
        let (mut series, _) = begin(&pod(900, u64::MAX - SECOND + 1, 5));
        let update = series.take(&pod(901, SECOND, 5), now);
        assert!(matches!(update, Update::Span(Span { concurrency, .. }) if concurrency == 2.0));
        let update = series.take(&pod(902, SECOND - 5, 4), now);
        let nothing = Span {
            concurrency: 0.0,
            requests: 0.0,
        };
        assert_eq!(update, Update::Span(nothing));
    }

    #[test]
    fn what_is_overtaken_or_absurd_changes_nothing() {
        let now = Timestamp::from_secs(5_001);
        let (mut series, _) = begin(&pod(900, 0, 5));
        assert_eq!(series.take(&pod(899, 9 * SECOND, 9), now), Update::Old);
        assert_eq!(
            series.take(&pod(901, u64::MAX / 2, 5), now),
            Update::Senseless
        );
        let update = series.take(&pod(901, SECOND, 5), now);
        assert!(matches!(update, Update::Span(Span { concurrency, .. }) if concurrency == 1.0));
        assert_eq!(begin(&pod(99, 0, 0)).1, Update::Senseless);
    }
}
