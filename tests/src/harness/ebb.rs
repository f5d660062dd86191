//! The `ebb` program under test: its JSON lines as they arrive, its stderr, its exit.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::{Process, Signal, program};

/// Number of lines kept to be shown when a wait fails. Of lines that look the same, the first is kept.
const SHOWN: usize = 12;

/// Time for an `ebb` that a failed test ends to remove what it created. The requests that it still answers are a test's,
/// and short.
const TIDIES_WITHIN: Duration = Duration::from_secs(10);

/// A running `ebb`, with lines of type `L` on its stdout. Dropping it ends `ebb` as Ctrl-C would: a killed `ebb` leaves its
/// cgroups, and there may be no later `ebb` to remove them.
#[derive(Debug)]
pub struct Ebb<L> {
    process: Process,
    lines: Receiver<L>,
    last: VecDeque<String>,
    errors: Option<JoinHandle<String>>,
}

/// How an `ebb` ended.
#[derive(Debug)]
pub struct End {
    /// Exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    /// All of its stderr.
    pub stderr: String,
}

/// A command for the `ebb` program, to be completed with arguments.
#[must_use]
pub fn command<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program("ebb"));
    command.args(arguments);
    command
}

/// Runs an `ebb` that is expected to end by itself.
///
/// # Panics
/// If the process does not end `within` this time.
#[track_caller]
pub fn to_end(mut command: Command, within: Duration) -> End {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut process = Process::start(command, None);
    let errors = read_errors(&mut process);
    End {
        code: process.wait(within).code(),
        stderr: errors.join().unwrap_or_default(),
    }
}

fn read_errors(process: &mut Process) -> JoinHandle<String> {
    let mut stderr = process.child().stderr.take().expect("stderr is a pipe");
    thread::spawn(move || {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).ok();
        String::from_utf8_lossy(&text).into_owned()
    })
}

impl<L: DeserializeOwned + Debug + Send + 'static> Ebb<L> {
    /// Starts the program.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::start(command, None);
        let stdout = process.child().stdout.take().expect("stdout is a pipe");
        let errors = read_errors(&mut process);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                let parsed = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("not a line of ebb's: {error}: {line}"));
                if sender.send(parsed).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            lines,
            last: VecDeque::new(),
            errors: Some(errors),
        }
    }

    /// Waits for the first line for which `wanted` returns a value; earlier lines are skipped.
    ///
    /// If there is no such line `within` this time, or the program ends first. The message has the last lines, the
    /// program's stderr, and
    /// `what` was awaited.
    #[track_caller]
    pub fn await_line<T>(
        &mut self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&L) -> Option<T>,
    ) -> T {
        match self.next_line(within, wanted) {
            Ok(found) => found,
            Err(why) => panic!("{what}: {why}"),
        }
    }

    /// Like `await_line`, but returns the reason on failure, after ending the program.
    pub(super) fn next_line<T>(
        &mut self,
        within: Duration,
        mut wanted: impl FnMut(&L) -> Option<T>,
    ) -> Result<T, String> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.keep(format!("{line:?}"));
                    if let Some(found) = wanted(&line) {
                        return Ok(found);
                    }
                }
                Err(error) => {
                    let why = match error {
                        RecvTimeoutError::Timeout => format!("not within {within:?}"),
                        RecvTimeoutError::Disconnected => "ebb ended".to_owned(),
                    };
                    // The program is ended so that its stderr ends too.
                    if !self.process.end_within(TIDIES_WITHIN) {
                        self.process.signal(Signal::SIGKILL);
                    }
                    let stderr = self.stderr();
                    let last = self.last.make_contiguous().join("\n  ");
                    return Err(format!("{why}; last lines:\n  {last}\nstderr:\n{stderr}"));
                }
            }
        }
    }

    fn keep(&mut self, line: String) {
        if self.last.back() == Some(&line) {
            return;
        }
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Returns the lines that have already arrived, without waiting for more.
    pub fn pending(&mut self) -> impl Iterator<Item = L> + '_ {
        self.lines.try_iter()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the program's end.
    ///
    /// # Panics
    /// If the process does not end `within` this time.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> End {
        let status = self.process.wait(within);
        End {
            code: status.code(),
            stderr: self.stderr(),
        }
    }

    fn stderr(&mut self) -> String {
        self.errors
            .take()
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    }
}

impl<L> Drop for Ebb<L> {
    fn drop(&mut self) {
        self.process.end_within(TIDIES_WITHIN);
    }
}
