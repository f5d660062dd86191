//! `ebb run` on a command: its events, its address, and an end that is checked.

use std::net::SocketAddr;
use std::time::Duration;

use super::ebb::{Ebb, End, command};
use super::{Remains, Signal, program};

/// Most things in `ebb run` take milliseconds, a decision two seconds, the shortest window six;
/// a loaded machine gets this long.
pub const SOON: Duration = Duration::from_secs(30);

/// One line of `ebb run --json`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The front door is open.
    Listening {
        /// Where.
        address: SocketAddr,
        /// Where the live page is.
        page: Option<SocketAddr>,
    },
    /// One decision.
    Decision(Decision),
    /// The first request while there was no replica.
    ColdStart(ColdStart),
    /// A replica changed its state.
    Replica(Replica),
    /// Events these tests have no use for.
    #[serde(other)]
    Other,
}

/// A decision and what it was taken on.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Decision {
    /// Seconds since the start.
    pub t: f64,
    /// Processes alive.
    pub replicas: u64,
    /// Of them ready.
    pub ready: u64,
    /// Mean in flight, queued ones included, since the decision before.
    pub concurrency: f64,
    /// Replicas wanted.
    pub desired: u64,
    /// Requests counted since the start.
    pub requests: u64,
}

/// What the first request at zero replicas cost.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct ColdStart {
    /// From its spawn until the replica was ready.
    pub start_ms: f64,
    /// From the request's arrival until it was handed over.
    pub waited_ms: f64,
    /// What of it was not the replica's own start.
    pub added_ms: f64,
}

/// A replica's new state.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Replica {
    /// Its number.
    pub replica: u64,
    /// `started`, `ready`, `draining`, `stopped` or `failed`.
    pub state: String,
}

/// A running `ebb run`.
#[derive(Debug)]
pub struct Run {
    ebb: Ebb<Event>,
    address: SocketAddr,
    page: Option<SocketAddr>,
}

impl Run {
    /// Starts it over replicas of `ebb-sample` and waits until its front door is open.
    ///
    /// # Panics
    /// It does not open.
    #[must_use]
    #[track_caller]
    pub fn sample(options: &[&str]) -> Self {
        let sample = program("ebb-sample");
        let sample = sample.to_str().expect("a path in UTF-8");
        Self::start(options, &[sample, "--port", "{port}"])
    }

    /// Starts it over replicas of a command and waits until its front door is open.
    ///
    /// # Panics
    /// It does not open.
    #[must_use]
    #[track_caller]
    pub fn start(options: &[&str], of: &[&str]) -> Self {
        let mut command = command(["run", "--json", "--port", "0"]);
        command.args(options).arg("--").args(of);
        let mut ebb = Ebb::start(command);
        let (address, page) = ebb.await_line("the address of ebb run", SOON, |event| match event {
            Event::Listening { address, page } => Some((*address, *page)),
            _ => None,
        });
        Self { ebb, address, page }
    }

    /// Where the front door is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its live page is.
    #[must_use]
    pub fn page(&self) -> Option<SocketAddr> {
        self.page
    }

    /// The first event `wanted` has an answer for.
    ///
    /// # Panics
    /// None comes `within` the time.
    #[track_caller]
    pub fn await_event<T>(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        self.ebb.await_line(what, within, wanted)
    }

    /// Reads decisions until one is as wanted.
    ///
    /// # Panics
    /// None is `within` the time.
    #[track_caller]
    pub fn await_decision(
        &mut self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&Decision) -> bool,
    ) -> Decision {
        self.ebb.await_line(what, within, |event| match event {
            Event::Decision(decision) if wanted(decision) => Some(decision.clone()),
            _ => None,
        })
    }

    /// The decisions that have come and were not read yet.
    pub fn decisions(&mut self) -> Vec<Decision> {
        self.ebb
            .pending()
            .filter_map(|event| match event {
                Event::Decision(decision) => Some(decision),
                _ => None,
            })
            .collect()
    }

    /// The events that have come and were not read yet.
    pub fn pending(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.ebb.pending()
    }

    /// The processes of its replicas, ready or not.
    ///
    /// # Panics
    /// `/proc` is not as proc(5) says.
    #[must_use]
    pub fn replicas(&self) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.ebb.pid()));
        let tasks = tasks.expect("/proc/PID/task").flatten();
        let children = tasks.filter_map(|task| {
            let children = std::fs::read_to_string(task.path().join("children")).ok()?;
            let children = children.split_whitespace();
            Some(
                children
                    .filter_map(|pid| pid.parse().ok())
                    .collect::<Vec<_>>(),
            )
        });
        children.flatten().collect()
    }

    /// What would remain of it.
    #[must_use]
    pub fn remains(&self) -> Remains {
        Remains::of(self.ebb.pid())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.ebb.signal(signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It does not end soon.
    #[track_caller]
    pub fn wait(&mut self) -> End {
        self.ebb.wait(SOON)
    }

    /// Ends it as Ctrl-C would, and checks that it ends well and that nothing of it remains.
    ///
    /// # Panics
    /// It ends badly, or something remains.
    #[track_caller]
    pub fn finish(mut self) {
        let remains = self.remains();
        self.signal(Signal::SIGINT);
        let end = self.wait();
        assert_eq!(end.code, Some(0), "ebb run after Ctrl-C: {}", end.stderr);
        remains.assert_gone();
    }
}
