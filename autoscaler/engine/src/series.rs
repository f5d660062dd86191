//! The cumulative counters of one pod, compared from report to report.
//!
//! Bias: an inconsistent report is ignored, never corrected, and the next report is compared with the last valid
//! report. If the counters of a pod have just started, they count from their start; otherwise only changes after the
//! first report count, because the distribution of the earlier requests over time is unknown.

use std::time::Duration;

use ebb_autoscaler_core::{Feed, Timestamp};
use ebb_contract::Pod;

/// Maximum age at which counters count from their start. Older counters count only from their first report. 3 s = two
/// report intervals of 1 s (one report may be lost) + 1 s for the delay of a report.
const YOUNG: Duration = Duration::from_secs(3);

/// Time after the last report from which on a pod has no current metrics. 3.5 s = three reports of one second each +
/// 0.5 s for the transfer.
pub(super) const STALE_AFTER: Duration = Duration::from_millis(3500);

/// Time after the last reported reading from which on the last measured load of a pod is assumed to continue. 1.5 s =
/// one report interval of 1 s + 0.5 s of delay. Without this assumption, a delayed report would look like idle time.
const EXTENDED_AFTER: Duration = Duration::from_millis(1500);

/// Limit of plausible requests in flight: 2^32, more than the connections and streams that a node can have. A larger
/// value shows that a counter is corrupt.
const ABSURD: f64 = 4_294_967_296.0;

/// The last report about a pod, and the load that it shows.
#[derive(Debug)]
pub(super) struct Series {
    epoch: u32,
    since: u64,
    at: u64,
    integral: u64,
    started: u64,
    pub(super) in_flight: u64,
    pub(super) opaque: u64,
    /// Converts the measurements of this pod into samples for the metric windows of the workload.
    pub(super) feed: Feed,
    /// Mean concurrency between the last two reports.
    mean: f64,
    /// Requests started per second between the last two reports.
    rate: f64,
    /// Whether the load has been measured, i.e. at least one [`Span`] exists.
    measured: bool,
    /// Arrival time of the last report.
    pub(super) last_report: Timestamp,
}

/// Load of a pod between two reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// Mean concurrency.
    pub(super) concurrency: f64,
    /// Number of requests started.
    pub(super) requests: f64,
}

/// Result of the comparison of a report about a pod with the previous report.
#[derive(Debug, PartialEq)]
pub(super) enum Update {
    /// The report is valid. The value is the load since the previous report.
    Span(Span),
    /// The first report of counters that started earlier. It shows no load; the next report is compared with it.
    Baseline,
    /// The report is older than the previous report, or has the same time.
    Old,
    /// The counters are inconsistent or implausible.
    Senseless,
}

impl Series {
    /// Creates a series from the first report about a pod. `read`: time of the reading (`pod.at`) by the autoscaler's
    /// clock. `is_new`: whether the pod served no request before the counters started.
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

    /// Returns whether `pod` continues the counters of this series; otherwise the counters have restarted.
    pub(super) fn continues(&self, epoch: u32, pod: &Pod<'_>) -> bool {
        self.epoch == epoch && self.since == pod.since
    }

    /// Compares a report with the previous report of the same counters.
    pub(super) fn take(&mut self, pod: &Pod<'_>, now: Timestamp) -> Update {
        if pod.at <= self.at {
            return Update::Old;
        }
        let seconds = (pod.at - self.at) as f64 / 1e9;
        // The difference can be negative: the agent subtracts a request once it recognises the request as a probe, and
        // the request may have started before the previous report.
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

    /// Returns the load to assume between the last reported time and `now`; `None` if the last reported time is at most
    /// `EXTENDED_AFTER` ago or no load has been measured.
    pub(super) fn to_extend(&self, now: Timestamp) -> Option<Span> {
        let unreported = now.since(self.feed.upto());
        (self.measured && unreported > EXTENDED_AFTER).then_some(Span {
            concurrency: self.mean,
            requests: self.rate * unreported.as_secs_f64(),
        })
    }

    /// Returns whether the load has been measured.
    pub(super) fn is_measured(&self) -> bool {
        self.measured
    }

    /// Returns whether the pod has no current metrics: no report for [`STALE_AFTER`], or no measured load yet.
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
