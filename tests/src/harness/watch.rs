//! `ebb watch` on a test's cgroup: its lines, and their totals.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::ebb::{Ebb, End, command};
use super::{Remains, Signal, TestCgroup};

/// Longest time until a change is visible in the counts.
pub const SOON: Duration = Duration::from_secs(15);

/// Limit for loading the programs, which takes a second of one CPU; the limit allows for a loaded machine.
const LOADED_WITHIN: Duration = Duration::from_secs(60);

/// One line of `ebb watch --json`: the keys that the design promises, all of them required.
#[derive(Clone, serde::Deserialize)]
pub struct Line {
    /// End of the interval, unix seconds.
    pub t: f64,
    /// Length of the interval, seconds.
    pub interval: f64,
    /// Mean requests in flight over the interval.
    pub concurrency: f64,
    /// Requests in flight at the end of the interval.
    pub in_flight: u64,
    /// Requests begun in the interval.
    pub requests: u64,
    /// Requests ended in the interval.
    pub completed: u64,
    /// Requests excluded in the interval.
    pub excluded: u64,
    /// Connections open at the end of the interval.
    pub connections: u64,
    /// `http1`, `http2`, `upgraded`, `opaque`.
    pub in_flight_by_protocol: BTreeMap<String, u64>,
    /// `1xx` to `5xx`.
    pub status: BTreeMap<String, u64>,
    /// `p50`, `p90`, `p99`; null if no request ended.
    pub latency_ms: BTreeMap<String, Option<f64>>,
}

/// How the requests ended. Compared as a whole, so that a failing test shows all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Answered to the last byte, with a status.
    pub answered: u64,
    /// Aborted with their connection.
    pub aborted: u64,
    /// Opaque connections.
    pub opaque: u64,
    /// Excluded.
    pub excluded: u64,
}

impl Ends {
    /// All of them answered.
    #[must_use]
    pub fn answered(answered: u64) -> Self {
        Self {
            answered,
            ..Self::default()
        }
    }
}

/// The totals of the lines read so far.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Seconds.
    pub time: f64,
    /// Request-seconds.
    pub integral: f64,
    /// Requests begun.
    pub requests: u64,
    /// Requests ended.
    pub completed: u64,
    /// Requests excluded.
    pub excluded: u64,
    /// Responses by class of status.
    pub status: BTreeMap<String, u64>,
}

/// Prints counts only, so that lines in which nothing happens look the same.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [http1, http2, upgraded, opaque] = self.by_protocol();
        write!(
            f,
            "mean {:.3}, in flight {} (http1 {http1}, http2 {http2}, upgraded {upgraded}, opaque \
             {opaque}), {} connections; begun {}, completed {}, excluded {}",
            self.concurrency,
            self.in_flight,
            self.connections,
            self.requests,
            self.completed,
            self.excluded
        )
    }
}

impl Line {
    /// In flight at the end of the interval by protocol: `[http1, http2, upgraded, opaque]`.
    #[must_use]
    pub fn by_protocol(&self) -> [u64; 4] {
        ["http1", "http2", "upgraded", "opaque"].map(|protocol| {
            self.in_flight_by_protocol
                .get(protocol)
                .copied()
                .unwrap_or(0)
        })
    }
}

impl Totals {
    /// How the requests ended. Useful only if none is in flight, because each has then ended.
    #[must_use]
    pub fn ends(&self) -> Ends {
        let answered = self.status.values().sum();
        Ends {
            answered,
            aborted: self.requests.saturating_sub(self.completed),
            opaque: self.completed.saturating_sub(answered),
            excluded: self.excluded,
        }
    }

    fn add(&mut self, line: &Line) {
        self.time += line.interval;
        self.integral += line.concurrency * line.interval;
        self.requests += line.requests;
        self.completed += line.completed;
        self.excluded += line.excluded;
        for (class, count) in &line.status {
            *self.status.entry(class.clone()).or_default() += count;
        }
    }
}

/// A running `ebb watch`.
#[derive(Debug)]
pub struct Watch {
    ebb: Ebb<Line>,
    totals: Totals,
}

impl Watch {
    /// Starts `ebb watch` on `cgroup` and waits for its first line: from then on everything is counted.
    ///
    /// # Panics
    /// If no line arrives.
    #[must_use]
    #[track_caller]
    pub fn start(cgroup: &TestCgroup, interval: &str, arguments: &[&str]) -> Self {
        let mut command = command(["watch", "--json", "--interval", interval, "--cgroup"]);
        command.arg(cgroup.path()).args(arguments);
        let mut watch = Self {
            ebb: Ebb::start(command),
            totals: Totals::default(),
        };
        watch.until_within("its first line", LOADED_WITHIN, |_, _| true);
        watch
    }

    /// Resets the totals: earlier lines are not in them.
    ///
    /// # Panics
    /// If something stays in flight for [`SOON`].
    #[track_caller]
    pub fn begin(&mut self) {
        self.settle();
        self.totals = Totals::default();
    }

    /// The totals of the lines read so far.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Reads lines until `wanted` is true for a line and the totals up to it.
    ///
    /// # Panics
    /// If none matches within [`SOON`].
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Totals, &Line) -> bool) -> Line {
        self.until_within(what, SOON, wanted)
    }

    #[track_caller]
    fn until_within(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Totals, &Line) -> bool,
    ) -> Line {
        let totals = &mut self.totals;
        let found = self.ebb.next_line(within, |line| {
            totals.add(line);
            wanted(totals, line).then(|| line.clone())
        });
        match found {
            Ok(line) => line,
            Err(why) => panic!("{what}: {why}all lines: {:?}, {totals:?}", totals.ends()),
        }
    }

    /// Reads the next lines until their intervals add up to `time`, and returns the totals of these lines.
    ///
    /// # Panics
    /// If the lines stop.
    #[track_caller]
    pub fn measure(&mut self, time: Duration) -> Totals {
        let mut measured = Totals::default();
        while measured.time < time.as_secs_f64() {
            let line = self.until("the next line", |_, _| true);
            measured.add(&line);
        }
        measured
    }

    /// Returns the first line whose interval ends `time` after this call or later. Lines wait to be read while a test is
    /// busy, so their own clock decides which are in the past, not the number of unread lines.
    ///
    /// # Panics
    /// If the lines stop.
    #[track_caller]
    pub fn line_after(&mut self, time: Duration) -> Line {
        let then = now() + time.as_secs_f64();
        self.until("the line at its time", |_, line| line.t >= then)
    }

    /// Reads lines until an interval that began after this call has seen nothing and nothing is in flight. Returns the
    /// totals of all lines.
    ///
    /// # Panics
    /// If this does not happen within [`SOON`].
    #[track_caller]
    pub fn settle(&mut self) -> Totals {
        let now = now();
        self.until("nothing in flight and nothing new", |_, line| {
            line.t - line.interval >= now
                && (line.in_flight, line.requests, line.completed, line.excluded) == (0, 0, 0, 0)
        });
        self.totals.clone()
    }

    /// Ends `ebb watch` as Ctrl-C would.
    ///
    /// # Panics
    /// If the process does not end.
    #[track_caller]
    pub fn interrupt(mut self) -> End {
        self.ebb.signal(Signal::SIGINT);
        self.ebb.wait(SOON)
    }

    /// Lists what `ebb watch` owns now and must remove at its end.
    #[must_use]
    pub fn remains(&self) -> Remains {
        Remains::of(self.ebb.pid())
    }
}

/// Current unix time, seconds.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock past 1970")
        .as_secs_f64()
}
