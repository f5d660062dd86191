//! Ebb's counter on a cgroup, through `ebb watch` as a user would run it, and what it counted: a
//! program that counts nothing would be the cheapest of all.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::harness::{Signal, ebb::Ebb};

/// Loading takes half a second; a loaded machine gets this long.
const SOON: Duration = Duration::from_secs(20);

/// A line of `ebb watch --json`, the part in use.
#[derive(Debug, serde::Deserialize)]
struct Line {
    t: f64,
    interval: f64,
    requests: u64,
    excluded: u64,
}

/// A running `ebb watch`; dropping it ends it, and with it all programs.
#[derive(Debug)]
pub(super) struct Counted {
    ebb: Ebb<Line>,
    seen: u64,
}

impl Counted {
    /// Starts it on a cgroup and waits until it counts.
    ///
    /// # Panics
    /// It does not.
    pub(super) fn start(ebb: &Path, cgroup: &Path, interval: &str) -> Self {
        let mut command = Command::new(ebb);
        command
            .args(["watch", "--json", "--interval", interval, "--cgroup"])
            .arg(cgroup);
        let mut ebb = Ebb::start(command);
        ebb.await_line("the first line of ebb watch", SOON, |_: &Line| Some(()));
        Self { ebb, seen: 0 }
    }

    /// The process that holds the programs.
    pub(super) fn pid(&self) -> u32 {
        self.ebb.pid()
    }

    /// Requests counted or excluded since the start.
    ///
    /// # Panics
    /// It has ended.
    pub(super) fn requests(&mut self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let seen = &mut self.seen;
        // The line of an interval that began after now: all before is in it or an earlier one.
        self.ebb
            .await_line("the next line of ebb watch", SOON, |line| {
                *seen += line.requests + line.excluded;
                (line.t - line.interval >= now).then_some(())
            });
        self.seen
    }

    /// Ends it, and waits until its programs are detached.
    ///
    /// # Panics
    /// It does not end.
    pub(super) fn end(mut self) {
        self.ebb.signal(Signal::SIGINT);
        self.ebb.wait(SOON);
    }
}
