//! `ebb run` on a command: its events, its address, and a checked end.

use std::net::SocketAddr;
use std::time::Duration;

use super::ebb::{Ebb, End, command};
use super::{Remains, Signal, program};

/// Limit for anything in `ebb run`. Most things take milliseconds, a decision two seconds, the shortest window six; the
/// limit allows for a loaded machine.
pub const SOON: Duration = Duration::from_secs(30);

/// One line of `ebb run --json`.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The front door is open.
    Listening {
        /// The front door's address.
        address: SocketAddr,
        /// The live page's address.
        page: Option<SocketAddr>,
    },
    /// One decision.
    Decision(Decision),
    /// The first request at zero replicas.
    ColdStart(ColdStart),
    /// A replica changed its state.
    Replica(Replica),
    /// Events that these tests do not use.
    #[serde(other)]
    Other,
}

/// A decision and its inputs.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Decision {
    /// Seconds since the start.
    pub t: f64,
    /// Processes alive.
    pub replicas: u64,
    /// Ready replicas among them.
    pub ready: u64,
    /// Mean requests in flight since the previous decision, queued ones included.
    pub concurrency: f64,
    /// Desired replicas.
    pub desired: u64,
    /// Requests counted since the start.
    pub requests: u64,
}

/// Latency of the first request at zero replicas.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct ColdStart {
    /// From the replica's spawn until it was ready, ms.
    pub start_ms: f64,
    /// From the request's arrival until it was forwarded, ms.
    pub waited_ms: f64,
    /// The part of the wait that was not the replica's own start, ms.
    pub added_ms: f64,
}

/// A replica's new state.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Replica {
    /// The replica's number.
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
    /// Starts `ebb run` with replicas of `ebb-sample` and waits until its front door is open.
    ///
    /// # Panics
    /// If the front door does not open.
    #[must_use]
    #[track_caller]
    pub fn sample(options: &[&str]) -> Self {
        let sample = program("ebb-sample");
        let sample = sample.to_str().expect("a path in UTF-8");
        Self::start(options, &[sample, "--port", "{port}"])
    }

    /// Starts `ebb run` with replicas of a command and waits until its front door is open.
    ///
    /// # Panics
    /// If the front door does not open.
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

    /// The front door's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The live page's address.
    #[must_use]
    pub fn page(&self) -> Option<SocketAddr> {
        self.page
    }

    /// Waits for the first event for which `wanted` returns a value.
    ///
    /// # Panics
    /// If no such event arrives `within` this time.
    #[track_caller]
    pub fn await_event<T>(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        self.ebb.await_line(what, within, wanted)
    }

    /// Reads decisions until one matches.
    ///
    /// # Panics
    /// If no decision matches `within` this time.
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

    /// The decisions that have arrived and were not read yet.
    pub fn decisions(&mut self) -> Vec<Decision> {
        self.ebb
            .pending()
            .filter_map(|event| match event {
                Event::Decision(decision) => Some(decision),
                _ => None,
            })
            .collect()
    }

    /// The events that have arrived and were not read yet.
    pub fn pending(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.ebb.pending()
    }

    /// The process ids of all replicas, ready or not.
    ///
    /// # Panics
    /// If `/proc` is not as proc(5) describes.
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

    /// Lists what `ebb run` owns now and must remove at its end.
    #[must_use]
    pub fn remains(&self) -> Remains {
        Remains::of(self.ebb.pid())
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.ebb.signal(signal);
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// If the process does not end within `SOON`.
    #[track_caller]
    pub fn wait(&mut self) -> End {
        self.ebb.wait(SOON)
    }

    /// Ends the program as Ctrl-C would, and checks that it exits with success and that nothing remains.
    ///
    /// # Panics
    /// If the process fails, or something remains.
    #[track_caller]
    pub fn finish(mut self) {
        let remains = self.remains();
        self.signal(Signal::SIGINT);
        let end = self.wait();
        assert_eq!(end.code, Some(0), "ebb run after Ctrl-C: {}", end.stderr);
        remains.assert_gone();
    }
}
