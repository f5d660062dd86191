//! Ebb's counter on a cgroup, started with `ebb watch` as a user would start it, and its counts. The bench checks the
//! counts, because a program that counted nothing would seem the cheapest.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ebb_fixtures::{Signal, ebb::Ebb};

/// Time limit for loading the programs. Loading takes half a second; the limit allows for a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// The fields of a line of `ebb watch --json` that the bench uses.
#[derive(Debug, serde::Deserialize)]
struct Line {
    t: f64,
    interval: f64,
    requests: u64,
    excluded: u64,
}

/// A running `ebb watch`. Dropping this value ends the process, and with it all its programs.
#[derive(Debug)]
pub(super) struct Counted {
    ebb: Ebb<Line>,
    seen: u64,
}

impl Counted {
    /// Starts `ebb watch` on a cgroup and waits until it counts.
    ///
    /// # Panics
    /// If `ebb watch` does not start to count.
    pub(super) fn start(ebb: &Path, cgroup: &Path, interval: &str) -> Self {
        let mut command = Command::new(ebb);
        command
            .args(["watch", "--json", "--interval", interval, "--cgroup"])
            .arg(cgroup);
        let mut ebb = Ebb::start(command);
        ebb.await_line("the first line of ebb watch", SOON, |_: &Line| Some(()));
        Self { ebb, seen: 0 }
    }

    /// Returns the id of the process that owns the programs.
    pub(super) fn pid(&self) -> u32 {
        self.ebb.pid()
    }

    /// Returns the number of requests that `ebb watch` has counted or excluded since its start.
    ///
    /// # Panics
    /// If `ebb watch` has ended.
    pub(super) fn requests(&mut self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let seen = &mut self.seen;
        // Reads lines up to the first line whose interval began after this call. All earlier requests are then in the
        // lines that have been read.
        self.ebb
            .await_line("the next line of ebb watch", SOON, |line| {
                *seen += line.requests + line.excluded;
                (line.t - line.interval >= now).then_some(())
            });
        self.seen
    }

    /// Ends `ebb watch`, and waits until its programs are detached.
    ///
    /// # Panics
    /// If the process does not end.
    pub(super) fn end(mut self) {
        self.ebb.signal(Signal::SIGINT);
        self.ebb.wait(SOON);
    }
}
