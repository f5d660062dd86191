//! Third-party client programs: the load that they put on a server, and the answers that they report.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Process, Signal, find, full};

/// Longer than any run in these tests; a client that hangs fails its test. Ten million requests, the largest run, take some
/// minutes.
fn ends_within() -> Duration {
    Duration::from_secs(if full() { 1_800 } else { 180 })
}

/// A running client. Dropping it ends the client.
#[derive(Debug)]
pub struct Client {
    process: Process,
    output: thread::JoinHandle<String>,
}

impl Client {
    /// Starts a client program.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let program = find::tool(program).unwrap_or_else(|| panic!("no {program}"));
        let mut command = Command::new(program);
        command.args(arguments);
        Self::run(command)
    }

    /// Starts a client written in Python that uses a third-party module.
    ///
    /// # Panics
    /// If the program cannot be started.
    #[must_use]
    pub fn python(module: &str, source: &str, arguments: &[&str]) -> Self {
        let python = find::python(module).unwrap_or_else(|| panic!("no Python with {module}"));
        let mut command = Command::new(python);
        command.args(["-c", source]).args(arguments);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process::start(command, None);
        let mut pipe = process.child().stdout.take().expect("stdout is a pipe");
        let output = thread::spawn(move || {
            let mut text = Vec::new();
            pipe.read_to_end(&mut text).ok();
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { process, output }
    }

    /// Starts `hey` with a number of requests over a number of connections. `hey` sends a multiple of `connections`.
    #[must_use]
    pub fn hey_requests(to: SocketAddr, path: &str, requests: u64, connections: u64) -> Self {
        assert_eq!(requests % connections, 0, "hey would round that down");
        Self::hey(to, path, "-n", &requests.to_string(), connections)
    }

    /// Starts `hey` for a duration over a number of connections.
    #[must_use]
    pub fn hey_for(to: SocketAddr, path: &str, time: Duration, connections: u64) -> Self {
        let time = format!("{}ms", time.as_millis());
        Self::hey(to, path, "-z", &time, connections)
    }

    fn hey(to: SocketAddr, path: &str, span: &str, value: &str, connections: u64) -> Self {
        let connections = connections.to_string();
        let url = format!("http://{to}{path}");
        // A timeout of 60 s: a request may be queued while a replica starts.
        Self::start("hey", &["-t", "60", span, value, "-c", &connections, &url])
    }

    /// Whether the client is still running.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.child().try_wait(), Ok(None))
    }

    /// Ends the client as Ctrl-C would and returns its output.
    ///
    /// # Panics
    /// If the process does not end.
    pub fn stop(self) -> String {
        self.process.signal(Signal::SIGINT);
        self.finish()
    }

    /// Waits for the client's end and returns its output.
    ///
    /// # Panics
    /// If the client does not end within three minutes (half an hour for the long variants).
    pub fn finish(mut self) -> String {
        self.process.wait(ends_within());
        self.output.join().expect("the reader of a client's output")
    }

    /// Waits for the end of a `hey` and returns the answers it reports.
    ///
    /// # Panics
    /// If the client does not end within three minutes (half an hour for the long variants).
    pub fn finish_hey(self) -> Answers {
        Answers::of_hey(&self.finish())
    }
}

/// One transfer by [`curl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Status code; 0: no response.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// Connections that the transfer opened: 0 if it reused one.
    pub connects: u32,
}

/// Fetches these URLs one after another with one `curl`, on one connection if the server keeps it open.
///
/// # Panics
/// If the client does not end within three minutes (half an hour for the long variants).
#[track_caller]
pub fn curl(options: &[&str], urls: &[impl AsRef<str>]) -> Vec<Fetched> {
    let mut arguments = vec![
        "-s",
        "-w",
        "%{http_code} %{size_download} %{num_connects}\n",
    ];
    arguments.extend(options);
    for url in urls {
        arguments.extend(["-o", "/dev/null", url.as_ref()]);
    }
    let report = Client::start("curl", &arguments).finish();
    let fetched: Option<Vec<_>> = report.lines().map(Fetched::of_curl).collect();
    fetched.unwrap_or_else(|| panic!("no report of curl's: {report:?}"))
}

impl Fetched {
    fn of_curl(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        Some(Self {
            status: fields.next()?.parse().ok()?,
            bytes: fields.next()?.parse().ok()?,
            connects: fields.next()?.parse().ok()?,
        })
    }
}

/// The answers to a load.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Responses by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Errors instead of a response, in the client's words.
    pub errors: Vec<String>,
}

impl Answers {
    /// Number of responses with status 200.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.by_status.get(&200).copied().unwrap_or(0)
    }

    /// # Panics
    /// If a response was not 200, or none was received.
    #[track_caller]
    pub fn assert_all_ok(&self) {
        let only_ok = self.by_status.keys().all(|status| *status == 200);
        assert!(self.ok() > 0 && only_ok && self.errors.is_empty(), "{self}");
    }

    /// Reads the two tables at the end of hey's report.
    fn of_hey(report: &str) -> Self {
        let mut answers = Self::default();
        let mut errors = false;
        for line in report.lines().map(str::trim) {
            errors |= line.starts_with("Error distribution:");
            let Some((key, rest)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) else {
                continue;
            };
            if errors {
                answers.errors.push(format!("{key} x {}", rest.trim()));
            } else if let (Ok(status), Some(count)) = (
                key.parse(),
                rest.split_whitespace().next().and_then(|n| n.parse().ok()),
            ) {
                answers.by_status.insert(status, count);
            }
        }
        answers
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        for (status, count) in &self.by_status {
            write!(text, "{count} of {status}, ")?;
        }
        write!(f, "{text}errors: {:?}", self.errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_hey_is_read() {
        let report = "Latency distribution:\n  10% in 0.1 secs\n\nStatus code distribution:\n  \
                      [200]\t500 responses\n  [503]\t2 responses\n\n\
                      Error distribution:\n  [3]\tGet \"http://x\": EOF\n";
        let answers = Answers::of_hey(report);
        assert_eq!(answers.by_status, BTreeMap::from([(200, 500), (503, 2)]));
        assert_eq!(answers.errors, ["3 x Get \"http://x\": EOF"]);
    }
}
