//! Loads: the client programs, their requests, and the results that the clients report.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use ebb_fixtures::client::Client;

use super::interrupt;

/// Number of connections of an HTTP/1 load: enough to keep one worker busy, without a queue that would hide the
/// worker's latency.
const CLIENTS: &str = "50";

/// Time between two checks of whether the client has ended or Ctrl-C was pressed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A load, and the client program that creates it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// `wrk` with 50 connections, each with one request at a time.
    Http1 {
        path: &'static str,
        user_agent: Option<&'static str>,
    },
    /// `h2load` with this number of connections, and this number of concurrent streams on each of them.
    Http2 {
        path: &'static str,
        connections: u32,
        streams: u32,
    },
}

impl Load {
    /// Sends requests to a server for this number of seconds.
    ///
    /// # Errors
    /// If the load was interrupted, or if a response was an error.
    ///
    /// # Panics
    /// If the client cannot be started.
    pub(super) fn run(self, server: SocketAddr, seconds: u32) -> Result<()> {
        match self {
            Self::Http1 { path, user_agent } => {
                wrk(server, path, user_agent, seconds)?;
            }
            Self::Http2 {
                path,
                connections,
                streams,
            } => {
                let url = format!("http://{server}{path}");
                let numbers = [connections, streams, seconds].map(|number| number.to_string());
                let [connections, streams, seconds] = numbers.each_ref().map(String::as_str);
                let arguments = ["-t", "1", "-c", connections, "-m", streams, "-D", seconds];
                let report = client("h2load", &[&arguments[..], &[&url]].concat())?;
                // Format of h2load's report: "requests: 7 total, 7 started, 7 done, 7 succeeded, 0 failed, 0 errored, 0
                // timeout".
                if !report.contains(" 0 failed, 0 errored, 0 timeout") {
                    bail!("h2load: some requests failed:\n{report}");
                }
            }
        }
        Ok(())
    }
}

/// The results that `wrk` reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Report {
    /// Number of requests that were answered.
    pub(super) requests: f64,
    /// Requests per second.
    pub(super) rate: f64,
    /// 99th percentile of the latency, in ms.
    pub(super) p99: f64,
}

/// Runs `wrk` for this number of seconds.
///
/// # Errors
/// If the load was interrupted, or if a response was an error.
///
/// # Panics
/// If the client cannot be started.
pub(super) fn wrk(
    server: SocketAddr,
    path: &str,
    user_agent: Option<&str>,
    seconds: u32,
) -> Result<Report> {
    let time = format!("{seconds}s");
    let url = format!("http://{server}{path}");
    let field = user_agent.map(|agent| format!("User-Agent: {agent}"));
    let mut arguments = vec!["--latency", "-t", "1", "-c", CLIENTS, "-d", &time];
    if let Some(field) = &field {
        arguments.extend(["-H", field]);
    }
    arguments.push(&url);
    let report = client("wrk", &arguments)?;
    if report.contains("Socket errors") || report.contains("Non-2xx") {
        bail!("wrk: some requests failed:\n{report}");
    }
    Report::parse(&report)
        .with_context(|| format!("wrk: the report has an unexpected form:\n{report}"))
}

fn client(program: &str, arguments: &[&str]) -> Result<String> {
    let mut client = Client::start(program, arguments);
    while client.is_running() {
        interrupt::check()?;
        thread::sleep(LOOK_EVERY);
    }
    Ok(client.finish())
}

impl Report {
    fn parse(text: &str) -> Option<Self> {
        let after = |key: &str| {
            text.lines()
                .filter_map(|line| line.trim().strip_prefix(key))
                .map(str::trim)
                .next()
        };
        // Format of the line in wrk's report: "110052 requests in 1.00s, 87.32MB read".
        let (requests, _) = text.split_once(" requests in ")?;
        Some(Self {
            requests: requests.split_whitespace().next_back()?.parse().ok()?,
            rate: after("Requests/sec:")?.parse().ok()?,
            p99: milliseconds(after("99%")?)?,
        })
    }
}

/// Parses a time in wrk's format, such as `850.00us`, `1.20ms` or `1.05s`. Returns it in ms.
fn milliseconds(text: &str) -> Option<f64> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        "m" => 60e3,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_wrk_is_read() {
        let report = "  Latency Distribution\n     50%  420.00us\n     75%  510.00us\n     99%    1.25ms\n  \
                      110052 requests in 1.00s, 87.32MB read\nRequests/sec: 109993.68\nTransfer/sec:     87.27MB\n";
        assert_eq!(
            Report::parse(report),
            Some(Report {
                requests: 110_052.0,
                rate: 109_993.68,
                p99: 1.25,
            })
        );
        assert_eq!(milliseconds("850.00us"), Some(0.85));
        assert_eq!(milliseconds("2.00s"), Some(2000.0));
        assert_eq!(milliseconds("2.00h"), None);
    }
}
