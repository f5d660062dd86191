//! Starts `ebb-test-pins` for the tests, and mounts a private bpffs.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use ebb_fixtures::ebb::{Ebb, End, to_end};
use ebb_fixtures::{Remains, Signal, TestCgroup, program};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Time limit for loading the kernel programs. Loading takes at most one second on an idle machine; the limit allows
/// for a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// One line of output of `ebb-test-pins`.
#[derive(Debug, Clone, serde::Deserialize)]
pub(crate) struct Line {
    pub(crate) adopted: usize,
    pub(crate) exchanged: usize,
    pub(super) dropped: usize,
    pub(super) layouts: Vec<String>,
    pub(super) halfway: bool,
    pub(super) counted: usize,
    /// The readings of the counted cgroups, in the order in which the test named the cgroups.
    pub(crate) readings: Vec<Reading>,
    /// Rare events of the whole machine since the programs were loaded, by kind.
    pub(crate) events: BTreeMap<String, u64>,
}

impl Line {
    /// Returns the reading of the counted cgroup, or of the first one.
    #[track_caller]
    pub(super) fn reading(&self) -> &Reading {
        self.readings
            .first()
            .expect("a reading of the counted cgroup")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Reading {
    pub(crate) since: u64,
    pub(super) exclude_paths: Vec<String>,
    /// Time of the reading, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) at: u64,
    /// Integral of the requests in flight, in request-nanoseconds. It wraps around.
    pub(crate) integral: u64,
    pub(crate) started: u64,
    pub(crate) completed: u64,
    pub(crate) aborted: u64,
    pub(crate) excluded: u64,
    /// Responses by class of status, 1xx to 5xx.
    pub(crate) status: [u64; 5],
    pub(crate) in_flight: u64,
    pub(crate) opaque: u64,
    pub(crate) connections: u64,
}

/// A running `ebb-test-pins`, which counts with pins. Dropping this value kills the process with SIGKILL; the pins
/// remain.
pub(crate) struct Keeper {
    ebb: Ebb<Line>,
    first: Line,
}

impl Keeper {
    /// Starts the process and waits for its first line. When the line arrives, the process is counting.
    #[track_caller]
    pub(super) fn start(pins: &Path, cgroup: Option<&TestCgroup>, arguments: &[&str]) -> Self {
        Self::start_all(pins, cgroup, arguments)
    }

    /// Like [`Self::start`], with several cgroups.
    #[track_caller]
    pub(crate) fn start_all<'a>(
        pins: &Path,
        cgroups: impl IntoIterator<Item = &'a TestCgroup>,
        arguments: &[&str],
    ) -> Self {
        let mut ebb = Ebb::start(command(pins, cgroups, arguments));
        let first = ebb.await_line("the first line of ebb-test-pins", SOON, |line: &Line| {
            Some(line.clone())
        });
        Self { ebb, first }
    }

    /// Returns the first line that the process printed.
    pub(crate) fn first(&self) -> &Line {
        &self.first
    }

    /// Returns the first reading that is printed after this call and satisfies `wanted`.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, wanted: impl Fn(&Reading) -> bool) -> Reading {
        let line = self.until_line(what, SOON, |line| {
            line.readings.first().is_some_and(&wanted)
        });
        line.reading().clone()
    }

    /// Returns the first line that is printed after this call and satisfies `wanted`.
    #[track_caller]
    pub(crate) fn until_line(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl Fn(&Line) -> bool,
    ) -> Line {
        // Discards lines that were printed before this call.
        self.ebb.pending().for_each(drop);
        self.ebb
            .await_line(what, within, |line| wanted(line).then(|| line.clone()))
    }

    /// Kills the process with SIGKILL and waits for its end.
    #[track_caller]
    pub(crate) fn kill(mut self) {
        self.ebb.signal(Signal::SIGKILL);
        self.ebb.wait(SOON);
    }

    /// Returns the kernel objects that the process holds.
    pub(super) fn remains(&self) -> Remains {
        Remains::of(self.ebb.pid())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.ebb.signal(Signal::SIGKILL);
    }
}

/// Starts a process and kills it with SIGKILL `after` this time, at whatever point the process is.
#[track_caller]
pub(super) fn start_and_kill(
    pins: &Path,
    cgroup: &TestCgroup,
    after: Duration,
    arguments: &[&str],
) {
    let mut ebb = Ebb::<Line>::start(command(pins, Some(cgroup), arguments));
    thread::sleep(after);
    ebb.signal(Signal::SIGKILL);
    ebb.wait(SOON);
}

/// Runs a process that is expected to end with an error.
#[track_caller]
pub(super) fn fail(pins: &Path, arguments: &[&str]) -> End {
    to_end(command(pins, None, arguments), SOON)
}

fn command<'a>(
    pins: &Path,
    cgroups: impl IntoIterator<Item = &'a TestCgroup>,
    arguments: &[&str],
) -> Command {
    let mut command = Command::new(program("ebb-test-pins"));
    command.arg("--pins").arg(pins).args(arguments);
    for cgroup in cgroups {
        command.arg("--cgroup").arg(cgroup.path());
    }
    command
}

/// Runs `test` with a directory for pins in a private bpffs. The bpffs is mounted in a separate mount namespace, so
/// only `test` and its child processes can see it, and nothing of it remains, however the test ends.
pub(crate) fn with_bpffs(test: impl FnOnce(&Path) + Send) {
    let directory = tempfile::Builder::new()
        .prefix("ebb-bpffs-")
        .tempdir()
        .expect("a folder");
    let mount_point: PathBuf = directory.path().into();
    let result = thread::scope(|scope| {
        let test = || {
            unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
            let none: Option<&str> = None;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).expect("mounts of our own");
            mount(
                Some("bpf"),
                &mount_point,
                Some("bpf"),
                MsFlags::empty(),
                none,
            )
            .expect("a bpffs");
            test(&mount_point.join("ebb"));
        };
        scope.spawn(test).join()
    });
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}
