//! One network namespace.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use crate::harness::find;

/// A network namespace with nothing in it but a loopback that is up.
#[derive(Debug)]
pub struct NetNs {
    file: File,
}

/// The thread is in another namespace until this is dropped.
struct Away {
    home: File,
}

impl Away {
    fn new() -> Self {
        Self { home: current() }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        // Every test after this one would run in the wrong network.
        if let Err(error) = setns(self.home.as_fd(), CloneFlags::CLONE_NEWNET) {
            eprintln!("cannot leave a network namespace: {error}");
            std::process::abort();
        }
    }
}

impl NetNs {
    /// # Panics
    /// It cannot be made (the test's needs ask for root).
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it makes a namespace: not a value to default to"
    )]
    pub fn new() -> Self {
        let away = Away::new();
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let namespace = Self { file: current() };
        drop(away);
        namespace.run("ip", "link set lo up");
        namespace
    }

    /// Does something in it. What is made there stays there: sockets, and processes, which inherit the
    /// namespace of the thread that starts them.
    pub fn inside<T>(&self, what: impl FnOnce() -> T) -> T {
        let _away = Away::new();
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
        what()
    }

    /// Runs a command in it: a program and its arguments, separated by blanks.
    ///
    /// # Panics
    /// It fails; with what it said.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &str) {
        if let Err(said) = self.try_run(program, arguments) {
            panic!("{program} {arguments}: {said}");
        }
    }

    /// The same; what it said where it failed.
    pub(super) fn try_run(&self, program: &str, arguments: &str) -> Result<(), String> {
        let path = find::tool(program).ok_or_else(|| "not installed".to_owned())?;
        let output = self
            .inside(|| {
                Command::new(path)
                    .args(arguments.split_whitespace())
                    .stdin(Stdio::null())
                    .output()
            })
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// How many TCP segments have been sent again in it: `RetransSegs` of `/proc/net/snmp`.
    ///
    /// # Panics
    /// The file is not as proc(5) says.
    #[must_use]
    pub fn retransmissions(&self) -> u64 {
        // Of the thread: `/proc/net` is that of the process.
        let text = self.inside(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
        let text = text.expect("/proc/net/snmp");
        let mut rows = text.lines().filter(|line| line.starts_with("Tcp:"));
        let (names, values) = (rows.next().unwrap_or(""), rows.next().unwrap_or(""));
        names
            .split(' ')
            .zip(values.split(' '))
            .find(|(name, _)| *name == "RetransSegs")
            .and_then(|(_, value)| value.parse().ok())
            .expect("RetransSegs")
    }

    /// A path that means it to other programs while this process lives.
    pub(super) fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

/// The network namespace of this thread.
fn current() -> File {
    File::open("/proc/thread-self/ns/net").expect("the thread's network namespace")
}
