//! From means over odd stretches of time to one sample a second.
//!
//! Knative records whatever a scrape brings into the second in which it comes, so two scrapes in
//! one second and none in the next double one bucket and empty the other (knative/serving#6743). A
//! [`Feed`] cuts a source's means at the seconds instead: each second gets one sample, its own
//! mean, when it is over. Like a scrape, it is stamped with the second in which it ends.
//!
//! Bias: time a source did not report is not zero, it is not there; the mean is over the time that
//! was.

use std::time::Duration;

use crate::{
    burst::Burst,
    time::Timestamp,
    window::{BadSample, Windows, sample::checked},
};

/// For this long a level is told as a mean, until the next report says more: short, so that it hardly weighs in the mean
/// of a second that is measured.
const LEVEL: Duration = Duration::from_millis(1);

/// One source's place in the time line of one workload: a node's agent, or the kernel counter of a
/// process.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Reported up to here.
    upto: Timestamp,
    open: Second,
    burst: Burst,
    /// The last mean over the burst window.
    pub(crate) burst_mean: f64,
}

/// The second that is not over yet.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    /// Requests in flight times seconds.
    integral: f64,
    requests: f64,
    covered: Duration,
    /// What of it was recorded before it was over.
    given: (f64, f64),
}

impl Second {
    /// What is still to be recorded: the means over the part that is covered, less what was given.
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
    /// A source that begins to report at `now`.
    pub fn starting(now: Timestamp) -> Self {
        Self {
            upto: now,
            open: Second::default(),
            burst: Burst::default(),
            burst_mean: 0.0,
        }
    }

    /// Up to when it has reported.
    pub const fn upto(&self) -> Timestamp {
        self.upto
    }

    /// Takes the mean concurrency since the last report, and the requests started since.
    ///
    /// A report that ends before the last one did is passed over: its time is already told.
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
        // What lies further back than any window is of no use, and a clock that leapt must not cost
        // a walk over years.
        let mut from = reported;
        if to.since(from) > longest {
            self.close(windows);
            from = to - longest;
        }
        while from < to {
            let end = Timestamp::from_secs(from.since_epoch().as_secs().saturating_add(1));
            // At the very end of time there is no next second.
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

    /// Takes how many requests there are at `at`, and how many of them begin a second, where nothing is measured yet. It
    /// stands for the second `at` lies in, and replaces what was told of that second before: a level that is told
    /// several times counts once. A report from before the last one is passed over.
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

    /// Records the open second as it stands, for a decision that cannot wait for its end.
    pub(crate) fn flush(&mut self, windows: &mut Windows) {
        let end = Timestamp::from_secs(self.upto.since_epoch().as_secs().saturating_add(1));
        if self.open.covered > Duration::ZERO {
            self.record(windows, end);
        }
    }

    /// Ends the open second early.
    fn close(&mut self, windows: &mut Windows) {
        self.flush(windows);
        self.open = Second::default();
    }

    fn record(&mut self, windows: &mut Windows, end: Timestamp) {
        if let Some((concurrency, rps)) = self.open.take() {
            windows.add(end, concurrency, rps);
        }
    }

    /// Bytes this feed takes in memory, heap included.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.burst.heap_bytes()
    }
}
