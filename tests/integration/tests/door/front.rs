//! A running `ebb-test-door`, and its control port.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use ebb_fixtures::ebb::{Ebb, End};
use ebb_fixtures::{Signal, eventually, program};

/// Everything here takes milliseconds; a loaded machine gets this long.
pub(super) const SOON: Duration = Duration::from_secs(30);

#[derive(Debug, serde::Deserialize)]
struct Hello {
    listening: SocketAddr,
    control: SocketAddr,
}

/// The state that the door reports.
#[derive(Debug, serde::Deserialize)]
pub(super) struct State {
    pub(super) held: u64,
    pub(super) answered: u64,
    pub(super) refused: BTreeMap<String, u64>,
}

pub(super) struct Front {
    program: Ebb<Hello>,
    address: SocketAddr,
    control: BufReader<TcpStream>,
}

impl Front {
    pub(super) fn start(options: &[&str]) -> Self {
        let mut command = Command::new(program("ebb-test-door"));
        command.args(options);
        let mut program = Ebb::start(command);
        let (address, control) =
            program.await_line("the address of the door", SOON, |hello: &Hello| {
                Some((hello.listening, hello.control))
            });
        let control = TcpStream::connect(control).expect("its control port");
        Self {
            program,
            address,
            control: BufReader::new(control),
        }
    }

    /// Starts a door in front of a running server.
    pub(super) fn of(server: SocketAddr, options: &[&str]) -> Self {
        let mut front = Self::start(options);
        front.add(1, server);
        front
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn add(&mut self, id: u64, server: SocketAddr) {
        self.tell(&format!("add {id} {server}"));
    }

    pub(super) fn state(&mut self) -> State {
        self.tell("state")
    }

    /// Waits until this number of requests is queued.
    #[track_caller]
    pub(super) fn holds(&mut self, count: u64) {
        eventually("requests held", SOON, || {
            (self.state().held == count).then_some(())
        });
    }

    /// Resident memory, in MiB.
    pub(super) fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: f64 = line
            .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .expect("VmRSS in kB");
        kib / 1024.0
    }

    /// Kills the door.
    pub(super) fn kill(&mut self) -> End {
        self.program.signal(Signal::SIGKILL);
        self.program.wait(SOON)
    }

    fn tell(&mut self, command: &str) -> State {
        writeln!(self.control.get_mut(), "{command}").expect("it listens");
        let mut line = String::new();
        self.control.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}
