//! Converts means over arbitrary periods into one sample per second.
//!
//! Knative records a scrape in the second in which it arrives. So two scrapes in one second and none in the next double
//! one bucket and empty the other (knative/serving#6743). A [`Feed`] cuts a source's means at full seconds instead.
//! When a second is over, its mean is recorded as one sample. The timestamp of the sample is the end of this second, as
//! for a scrape.
//!
//! Bias: time that no report covers is missing, not zero; the mean is over the reported time.

use std::time::Duration;

use crate::{
    burst::Burst,
    time::Timestamp,
    window::{BadSample, Windows, sample::checked},
};

/// Length of the period that a level covers. A level is a momentary number of queued requests (`Feed::level`), not a
/// mean over a period. The period is short, so that a level hardly changes the mean of a second that a report covers,
/// too.
const LEVEL: Duration = Duration::from_millis(1);

/// The state of one source of reports about a workload: a node's agent, or the kernel counter of a process.
#[derive(Clone, Debug)]
pub struct Feed {
    /// End of the period that the last report covers.
    upto: Timestamp,
    open: Second,
    burst: Burst,
    /// The last mean over the burst window.
    pub(crate) burst_mean: f64,
}

/// The current second, which is not over yet.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Integral of the requests in flight over the part of the second that reports cover so far, in request-seconds.
    integral: f64,
    requests: f64,
    covered: Duration,
    /// The means that were already recorded for the current second, as a tuple (concurrency, requests per second).
    given: (f64, f64),
}

impl Second {
    /// Returns what must be added to the record of the current second, as a tuple (concurrency, requests per second):
    /// the means over the part of the second that reports cover so far, less the means that were already recorded.
    /// `None` if no report covers any part of the second.
    fn take(&mut self) -> Option<(f64, f64)> {
        let seconds = self.covered.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let means = (self.integral / seconds, self.requests / seconds);
        let rest = (means.0 - self.given.0, means.1 - self.given.1);
        self.given = means;
        Some(rest)
    }
}

impl Feed {
    /// Creates the feed of a source whose first report covers the time from `now`.
    pub fn starting(now: Timestamp) -> Self {
        Self {
            upto: now,
            open: Second::default(),
            burst: Burst::default(),
            burst_mean: 0.0,
        }
    }

    /// Creates the feed of a source that starts at `at` and has served nothing before. The part of the second before
    /// `at` counts as zero. Otherwise, requests that move from an old source to a new one within a second would count
    /// twice: in the mean over the last part of the old source, and in the mean over the first part of the new source.
    pub fn beginning(at: Timestamp) -> Self {
        let mut feed = Self::starting(at);
        feed.open.covered = at.since(Timestamp::from_secs(at.since_epoch().as_secs()));
        feed
    }

    /// Returns the end of the period that the last report covers.
    pub const fn upto(&self) -> Timestamp {
        self.upto
    }

    /// Records the mean concurrency since the last report, and the number of requests started since then.
    ///
    /// A report is ignored if its period does not end after the period of the last report: this time is already
    /// recorded.
    pub(crate) fn report(
        &mut self,
        windows: &mut Windows,
        to: Timestamp,
        concurrency: f64,
        requests: f64,
        longest: Duration,
        burst_window: Duration,
    ) -> Result<(), BadSample> {
        checked("concurrency", concurrency)?;
        checked("requests", requests)?;
        let reported = self.upto;
        if to <= reported {
            return Ok(());
        }
        self.burst_mean = self.burst.push(reported, to, concurrency, burst_window);
        let rate = requests / to.since(reported).as_secs_f64();
        // Time before the start of the longest window is not needed. Without this limit, a jump of the clock could
        // cause a loop over years of seconds.
        let mut from = reported;
        if to.since(from) > longest {
            self.close(windows);
            from = to - longest;
        }
        while from < to {
            let end = Timestamp::from_secs(from.since_epoch().as_secs().saturating_add(1));
            // At the largest possible time there is no next second.
            let until = if end > from { end.min(to) } else { to };
            let length = until.since(from);
            self.open.integral += concurrency * length.as_secs_f64();
            self.open.requests += rate * length.as_secs_f64();
            self.open.covered += length;
            from = until;
            self.upto = until;
            if until == end {
                self.record(windows, end);
                self.open = Second::default();
            }
        }
        Ok(())
    }

    /// Records a level, i.e. the momentary load while there is no measurement yet: the number of requests in flight at
    /// `at`, and the number of requests that start per second. Both values replace the values recorded earlier for the
    /// second that contains `at`, so a level that is reported several times counts once. A level is ignored if `at` is
    /// before the end of the last report.
    pub(crate) fn level(
        &mut self,
        windows: &mut Windows,
        at: Timestamp,
        concurrency: f64,
        rate: f64,
        burst_window: Duration,
    ) -> Result<(), BadSample> {
        checked("concurrency", concurrency)?;
        checked("requests", rate)?;
        if at < self.upto {
            return Ok(());
        }
        let from = at - LEVEL;
        let is_same_second = self.upto.second() == at.second();
        self.flush(windows);
        let given = if is_same_second {
            self.open.given
        } else {
            (0.0, 0.0)
        };
        self.open = Second {
            integral: concurrency * LEVEL.as_secs_f64(),
            requests: rate * LEVEL.as_secs_f64(),
            covered: LEVEL,
            given,
        };
        self.upto = at;
        self.burst = Burst::default();
        self.burst_mean = self.burst.push(from, at, concurrency, burst_window);
        self.flush(windows);
        Ok(())
    }

    /// Records the means over the part of the current second that reports cover so far, for a decision that cannot wait
    /// for the end of the second.
    pub(crate) fn flush(&mut self, windows: &mut Windows) {
        let end = Timestamp::from_secs(self.upto.since_epoch().as_secs().saturating_add(1));
        if self.open.covered > Duration::ZERO {
            self.record(windows, end);
        }
    }

    /// Records the current second of a source that no longer serves any request. The rest of this second counts as
    /// zero.
    pub(crate) fn end(&mut self, windows: &mut Windows) {
        if self.open.covered > Duration::ZERO {
            self.open.covered = Duration::from_secs(1);
        }
        self.close(windows);
    }

    /// Ends the current second although it is not over yet: records the means over the part that reports cover.
    fn close(&mut self, windows: &mut Windows) {
        self.flush(windows);
        self.open = Second::default();
    }

    fn record(&mut self, windows: &mut Windows, end: Timestamp) {
        if let Some((concurrency, rps)) = self.open.take() {
            windows.add(end, concurrency, rps);
        }
    }

    /// Returns the size of this feed in memory in bytes, including the heap.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.burst.heap_bytes()
    }
}
