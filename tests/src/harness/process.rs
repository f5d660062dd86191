//! A process that cannot outlive its test.
//!
//! The process enters its cgroup before it runs its first instruction. It has its own process group, so that a Ctrl-C on
//! the test run does not reach it. The kernel kills it if the test program itself is killed.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;

use super::TestCgroup;
use super::wait::poll;

pub use nix::sys::signal::Signal;

/// A running process. Dropping it kills its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command`, in `cgroup` if one is given.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(mut command: Command, cgroup: Option<&TestCgroup>) -> Self {
        let name = format!("{command:?}");
        let procs = cgroup.map(|cgroup| {
            let path = cgroup.path().join("cgroup.procs");
            File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        });
        command.process_group(0);
        // SAFETY: between fork and exec only async-signal-safe calls: write(2) and prctl(2).
        unsafe {
            command.pre_exec(move || {
                prctl::set_pdeathsig(Signal::SIGKILL)?;
                if let Some(mut procs) = procs.as_ref() {
                    // "0" means the process that writes.
                    procs.write_all(b"0")?;
                }
                Ok(())
            });
        }
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { child, name }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child process with its pipes.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal to this process only, not to its group.
    pub fn signal(&self, signal: Signal) {
        // An error means that the process is dead, which is the purpose of most signals.
        kill(self.as_pid(), signal).ok();
    }

    /// Waits for the process and returns its exit status.
    ///
    /// # Panics
    /// If the process has not ended `within` this time.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        match poll(within, || self.child.try_wait().expect("wait for a child")) {
            Some(status) => status,
            None => panic!("{}: still running after {within:?}", self.name),
        }
    }

    /// Sends SIGINT, as Ctrl-C does, and waits for the end. Returns whether the process has ended.
    pub fn end_within(&mut self, within: Duration) -> bool {
        // A process that was waited for no longer has an id.
        if self.child.try_wait().is_ok_and(|end| end.is_none()) {
            self.signal(Signal::SIGINT);
        }
        poll(within, || self.child.try_wait().ok().flatten()).is_some()
    }

    fn as_pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The whole group: a leader that has ended may leave members (for example nginx its workers).
        killpg(self.as_pid(), Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}
