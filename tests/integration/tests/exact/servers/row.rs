//! One row of the table: runs the cases against one server, and compares three counts: the client's, the server's and
//! Ebb's.

use std::fs;
use std::process::Command;

use ebb_fixtures::server::{Program, RealServer};
use ebb_fixtures::watch::{Line, Totals, Watch};
use ebb_fixtures::{Dialogue, python, row as print_row};
use serde::Deserialize;

use crate::exact::shared::Shared;

/// The reporting interval of `ebb watch`. A row has about a hundred moments at which it waits for the next line.
const INTERVAL: &str = "20ms";

/// The files of the client. The first one is the program.
pub(crate) const CLIENT: &[(&str, &str)] = &[
    ("driver.py", include_str!("cases/driver.py")),
    ("client.py", include_str!("cases/client.py")),
    ("connection.py", include_str!("cases/connection.py")),
    ("ends.py", include_str!("cases/ends.py")),
    ("grpc_calls.py", include_str!("cases/grpc_calls.py")),
    ("h2client.py", include_str!("cases/h2client.py")),
    ("http1.py", include_str!("cases/http1.py")),
    (
        "http1_in_flight.py",
        include_str!("cases/http1_in_flight.py"),
    ),
    (
        "http1_malformed.py",
        include_str!("cases/http1_malformed.py"),
    ),
    ("http1_ordinary.py", include_str!("cases/http1_ordinary.py")),
    ("http1_proxy.py", include_str!("cases/http1_proxy.py")),
    ("http2.py", include_str!("cases/http2.py")),
];

/// What a case says before it has ended.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Step {
    /// The case has ended.
    End(Seen),
    /// The server must get this signal.
    Signal { signal: String },
    /// Ebb must report these numbers.
    Report {
        in_flight: u64,
        connections: Option<u64>,
        upgraded: Option<u64>,
    },
}

/// What the client saw in a case.
#[derive(Debug, Deserialize)]
struct Seen {
    /// Requests that came to the server.
    requests: u64,
    /// Requests that may have come to a closed socket.
    maybe: u64,
    /// Complete responses.
    responses: u64,
    /// Of these, the responses of the application.
    application: u64,
    /// Requests whose response may have been lost.
    unsure: u64,
    /// Requests that Ebb may report as opaque.
    opaque: u64,
    #[expect(dead_code, reason = "printed with a mismatch")]
    statuses: Vec<u16>,
    error: Option<String>,
}

/// The number of lines that the server has logged in a case.
#[derive(Debug, Deserialize)]
struct Logged {
    logged: u64,
}

/// Runs all cases that suit the `features` of this server. Prints the row, and panics with a list of all mismatches.
#[track_caller]
pub(super) fn row(program: Program, features: &str) {
    let mut shared = Shared::take(INTERVAL);
    let server = RealServer::start(program, &shared.cgroup);
    let watch = &mut shared.watch;
    watch.begin();
    let mut client = start_client(&server, features);
    let names: Vec<String> = read(&mut client);
    let (mut wrong, mut sum) = (Vec::new(), [0; 5]);
    for name in &names {
        let before = watch.totals().clone();
        client.say(name);
        let seen = run(&mut client, &server, watch);
        let after = watch.settle();
        client.say("");
        let logged = read::<Logged>(&mut client).logged;
        client.say("");
        let counted = Counted::between(&before, &after);
        let has = |feature| features.split(',').any(|has| has == feature);
        // Apache logs a request of HTTP/2 when it has cleaned up the stream, which can be seconds later, and an upgrade
        // to HTTP/2 twice.
        let late = has("logs_late") && (name.starts_with("h2_") || name == "stop");
        let log = (!late).then_some(logged);
        if let Some(why) = mismatch(&seen, log, has("logs_all"), counted) {
            wrong.push(format!(
                "{name}: {why}: {counted:?}, log {logged}, {seen:?}"
            ));
        }
        let numbers = [seen.requests, logged, counted.requests, counted.answered];
        for (sum, number) in sum
            .iter_mut()
            .zip(numbers.into_iter().chain([counted.opaque]))
        {
            *sum += number;
        }
    }
    drop(client);
    server.stop();
    shared.give_back();
    drop(server);
    let columns = [
        "server", "cases", "wrong", "sent", "logged", "counted", "answered", "opaque",
    ];
    let columns = columns.map(str::to_owned);
    let mut cells = vec![names.len().to_string(), wrong.len().to_string()];
    cells.extend(sum.map(|number| number.to_string()));
    print_row("servers", &columns, format!("{program:?}"), cells);
    assert!(wrong.is_empty(), "{program:?}:\n{}", wrong.join("\n"));
}

fn start_client(server: &RealServer, features: &str) -> Dialogue {
    let folder = server.folder();
    for (name, text) in CLIENT {
        fs::write(folder.join(name), text).expect("a file of the client");
    }
    let module = if features == "grpc" { "grpc" } else { "socket" };
    let mut command = Command::new(python(module).expect("python3"));
    let [address, proxy, http2] = server.addresses();
    command
        .arg(folder.join(CLIENT[0].0))
        .arg(address.ip().to_string())
        .args([address, proxy, http2].map(|address| address.port().to_string()))
        .arg(folder)
        .arg(features);
    Dialogue::start(command)
}

#[track_caller]
fn read<T: for<'a> Deserialize<'a>>(client: &mut Dialogue) -> T {
    let line = client.hear();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Follows the steps of a case to its end.
#[track_caller]
fn run(client: &mut Dialogue, server: &RealServer, watch: &mut Watch) -> Seen {
    loop {
        match read(client) {
            Step::End(seen) => return seen,
            Step::Signal { signal } if signal == "stop" => server.stop(),
            Step::Signal { .. } => server.reload(),
            Step::Report {
                in_flight,
                connections,
                upgraded,
            } => {
                let matches = |line: &Line| {
                    line.in_flight == in_flight
                        && connections.is_none_or(|number| number == line.connections)
                        && upgraded.is_none_or(|number| number == line.by_protocol()[2])
                };
                let what = format!("{in_flight} in flight, {connections:?}, {upgraded:?}");
                watch.until(&what, |_, line| matches(line));
            }
        }
        client.say("");
    }
}

/// What Ebb counted in a case.
#[derive(Debug, Clone, Copy)]
struct Counted {
    requests: u64,
    answered: u64,
    aborted: u64,
    opaque: u64,
}

impl Counted {
    fn between(before: &Totals, after: &Totals) -> Self {
        let (before_ends, ends) = (before.ends(), after.ends());
        Self {
            requests: after.requests - before.requests,
            answered: ends.answered - before_ends.answered,
            aborted: ends.aborted - before_ends.aborted,
            opaque: ends.opaque - before_ends.opaque,
        }
    }
}

/// Returns what is wrong, if anything is.
fn mismatch(seen: &Seen, log: Option<u64>, all: bool, counted: Counted) -> Option<&'static str> {
    let least = seen.responses.saturating_sub(seen.opaque);
    // A proxy logs each request, also one that it refuses. An application logs the requests that reach it. An aborted or
    // malformed request may or may not reach it.
    let (from_log, refused) = if all {
        (seen.responses, 0)
    } else {
        (seen.application, seen.responses - seen.application)
    };
    let broken = refused + counted.aborted + counted.opaque + seen.opaque + seen.maybe;
    if seen.error.is_some() {
        Some("the client failed")
    } else if !(seen.requests..=seen.requests + seen.maybe).contains(&counted.requests) {
        Some("requests")
    } else if !(least..=seen.responses + seen.unsure).contains(&counted.answered) {
        Some("answered")
    } else if counted.opaque > seen.opaque {
        Some("opaque")
    } else if log.is_some_and(|logged| logged.abs_diff(from_log) > broken) {
        Some("the log")
    } else {
        None
    }
}
