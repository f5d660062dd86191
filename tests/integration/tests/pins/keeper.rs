//! Starts `ebb-test-pins` for the tests, and mounts a private bpffs.

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
pub(super) const SOON: Duration = Duration::from_secs(20);

/// One line of output of `ebb-test-pins`.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct Line {
    pub(super) adopted: usize,
    pub(super) exchanged: usize,
    pub(super) dropped: usize,
    pub(super) layouts: Vec<String>,
    pub(super) halfway: bool,
    pub(super) counted: usize,
    pub(super) reading: Option<Reading>,
}

impl Line {
    /// Returns the reading of the counted cgroup.
    #[track_caller]
    pub(super) fn reading(&self) -> &Reading {
        self.reading
            .as_ref()
            .expect("a reading of the counted cgroup")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(super) struct Reading {
    pub(super) since: u64,
    pub(super) exclude_paths: Vec<String>,
    pub(super) started: u64,
    pub(super) completed: u64,
    pub(super) aborted: u64,
    pub(super) excluded: u64,
    pub(super) in_flight: u64,
    pub(super) connections: u64,
}

/// A running `ebb-test-pins`, which counts with pins. Dropping this value kills the process with SIGKILL; the pins
/// remain.
pub(super) struct Keeper {
    ebb: Ebb<Line>,
    first: Line,
}

impl Keeper {
    /// Starts the process and waits for its first line. When the line arrives, the process is counting.
    #[track_caller]
    pub(super) fn start(pins: &Path, cgroup: Option<&TestCgroup>, arguments: &[&str]) -> Self {
        let mut ebb = Ebb::start(command(pins, cgroup, arguments));
        let first = ebb.await_line("the first line of ebb-test-pins", SOON, |line: &Line| {
            Some(line.clone())
        });
        Self { ebb, first }
    }

    /// Returns the first line that the process printed.
    pub(super) fn first(&self) -> &Line {
        &self.first
    }

    /// Returns the first reading that is printed after this call and satisfies `wanted`.
    #[track_caller]
    pub(super) fn until(&mut self, what: &str, wanted: impl Fn(&Reading) -> bool) -> Reading {
        // Discards lines that were printed before this call.
        self.ebb.pending().for_each(drop);
        self.ebb.await_line(what, SOON, |line| {
            line.reading.clone().filter(|reading| wanted(reading))
        })
    }

    /// Kills the process with SIGKILL and waits for its end.
    #[track_caller]
    pub(super) fn kill(mut self) {
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

fn command(pins: &Path, cgroup: Option<&TestCgroup>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("ebb-test-pins"));
    command.arg("--pins").arg(pins).args(arguments);
    if let Some(cgroup) = cgroup {
        command.arg("--cgroup").arg(cgroup.path());
    }
    command
}

/// Runs `test` with a directory for pins in a private bpffs. The bpffs is mounted in a separate mount namespace, so
/// only `test` and its child processes can see it, and nothing of it remains, however the test ends.
pub(super) fn with_bpffs(test: impl FnOnce(&Path) + Send) {
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
