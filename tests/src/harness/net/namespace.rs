//! One network namespace.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use crate::harness::find;

/// An empty network namespace, except for a loopback device that is up.
#[derive(Debug)]
pub struct NetNs {
    file: File,
}

/// While this value lives, the thread is in another namespace.
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
        // If this fails, every later test would run in the wrong network.
        if let Err(error) = setns(self.home.as_fd(), CloneFlags::CLONE_NEWNET) {
            eprintln!("cannot leave a network namespace: {error}");
            std::process::abort();
        }
    }
}

impl NetNs {
    /// # Panics
    /// If the namespace cannot be created (the test's needs include root).
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

    /// Runs a function in the namespace. Sockets created there stay in it, and so do processes, which inherit the namespace
    /// of the thread that starts them.
    pub fn inside<T>(&self, what: impl FnOnce() -> T) -> T {
        let _away = Away::new();
        setns(self.file.as_fd(), CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
        what()
    }

    /// Runs a command in the namespace: a program and its arguments, separated by blanks.
    ///
    /// # Panics
    /// If the command fails; the message includes the command's output.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &str) {
        if let Err(said) = self.try_run(program, arguments) {
            panic!("{program} {arguments}: {said}");
        }
    }

    /// Like `run`, but returns the command's output if it fails.
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

    /// Number of TCP segments retransmitted in this namespace.
    #[must_use]
    pub fn retransmissions(&self) -> u64 {
        self.figure("snmp", "Tcp", "RetransSegs")
    }

    /// A kernel counter from `/proc/net/snmp` or `/proc/net/netstat`.
    ///
    /// # Panics
    /// If the counter is missing, or the file is not as proc(5) describes.
    #[must_use]
    pub fn figure(&self, file: &str, protocol: &str, name: &str) -> u64 {
        let text = self.figures(file);
        let start = format!("{protocol}: ");
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(&start));
        let (names, values) = (rows.next().unwrap_or(""), rows.next().unwrap_or(""));
        names
            .split(' ')
            .zip(values.split(' '))
            .find(|(this, _)| *this == name)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_else(|| panic!("{file}: no {protocol} {name}"))
    }

    /// The same from `/proc/net/snmp6`, which has one line per counter.
    ///
    /// # Panics
    /// As [`Self::figure`].
    #[must_use]
    pub fn figure6(&self, name: &str) -> u64 {
        self.figures("snmp6")
            .lines()
            .filter_map(|line| line.split_once(char::is_whitespace))
            .find(|(this, _)| *this == name)
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or_else(|| panic!("snmp6: no {name}"))
    }

    fn figures(&self, file: &str) -> String {
        // The thread's own file: `/proc/net` shows the namespace of the process.
        let path = format!("/proc/thread-self/net/{file}");
        let text = self.inside(|| std::fs::read_to_string(&path));
        text.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Allows IPv6 packets longer than 64 KiB (BIG TCP) on the loopback device.
    ///
    /// # Errors
    /// The kernel's error message.
    pub fn big_tcp(&self) -> Result<(), String> {
        self.try_run("ip", "link set lo gso_max_size 190000 gro_max_size 190000")
    }

    /// A path that names this namespace for other programs while this process lives.
    pub(super) fn path(&self) -> String {
        use std::os::fd::AsRawFd;
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

/// Allows TCP Fast Open for clients and servers in this thread's network namespace, both without a cookie from an earlier
/// connection (Documentation/networking/ip-sysctl.rst).
///
/// # Errors
/// If the kernel has no TCP Fast Open, or the setting cannot be changed here.
pub fn allow_fast_open() -> std::io::Result<()> {
    let both = 0x1 | 0x2 | 0x4 | 0x200;
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", format!("{both}"))
}

/// The network namespace of this thread.
fn current() -> File {
    File::open("/proc/thread-self/ns/net").expect("the thread's network namespace")
}
