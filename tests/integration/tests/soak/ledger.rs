//! The ledger: at each quiet point, what the clients sent, what the servers logged and what Ebb counted since the last
//! one, and the differences that are allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use ebb_fixtures::{poll, row};

use super::log::Logged;
use super::pod::Pod;
use super::restart::Restart;
use super::tally::Tally;
use crate::pins::keeper::{Line, Reading};

/// Time limit for the last lines of a server's log.
const LOGGED_WITHIN: Duration = Duration::from_secs(3);

/// The number of mismatches after which a run ends: more of them say nothing new.
const ENOUGH: usize = 10;

/// The ledger of a run.
pub(super) struct Ledger {
    seed: u64,
    periods: u32,
    /// The first and the last balance of each server.
    accounts: Vec<Account>,
    events: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

struct Account {
    first: Reading,
    last: Balance,
    restarts: usize,
}

/// The three counts of a server since the start.
#[derive(Clone)]
struct Balance {
    sent: Tally,
    logged: Option<Logged>,
    counted: Reading,
}

/// The three counts of a server in one period.
struct Entry<'a> {
    sent: Tally,
    logged: Option<Logged>,
    counted: Counted,
    restarts: &'a [Restart],
    logs_at_end: bool,
    drops: bool,
    /// The connections that the clients held at the beginning of the period.
    held_before: u64,
}

/// What Ebb counted in one period.
#[derive(Debug, Clone, Copy)]
struct Counted {
    started: u64,
    status: [u64; 5],
    aborted: u64,
    /// Opaque connections that ended.
    opaque: u64,
    excluded: u64,
    /// In request-microseconds.
    integral: u64,
    in_flight: u64,
    connections: u64,
}

impl Ledger {
    /// Opens the accounts with the first reading. The clients have not sent anything yet.
    pub(super) fn new(seed: u64, pods: &mut [Pod<'_>], first: &Line) -> Self {
        assert_eq!(first.readings.len(), pods.len());
        let account = |(pod, reading): (&mut Pod<'_>, &Reading)| Account {
            first: reading.clone(),
            last: Balance {
                sent: Tally::default(),
                logged: pod.logged(),
                counted: reading.clone(),
            },
            restarts: 0,
        };
        Self {
            seed,
            periods: 0,
            accounts: pods.iter_mut().zip(&first.readings).map(account).collect(),
            events: first.events.clone(),
            wrong: Vec::new(),
        }
    }

    /// Compares the counts since the last quiet point. `line` is a reading while the clients pause, and `later` the
    /// next one.
    pub(super) fn close_period(&mut self, pods: &mut [Pod<'_>], line: &Line, later: &Line) {
        self.periods += 1;
        let mut events = line.events.clone();
        events.retain(|event, count| {
            *count -= self.events.get(event).copied().unwrap_or(0);
            *count > 0
        });
        self.events.clone_from(&line.events);
        for (index, pod) in pods.iter_mut().enumerate() {
            let restarts = pod.disturbances();
            let account = &mut self.accounts[index];
            account.restarts += restarts.len();
            let before = account.last.logged.unwrap_or_default();
            let sent = pod.tally().since(&account.last.sent);
            let logged = pod.logged().map(|_| {
                // A server may log a request a moment after its end.
                let mut last = before;
                let complete = || {
                    last = pod.logged()?;
                    (last.kept - before.kept == sent.kept).then_some(())
                };
                let _ = poll(LOGGED_WITHIN, complete);
                last
            });
            let counted = &line.readings[index];
            let entry = Entry {
                sent,
                logged: logged.map(|now| Logged {
                    all: now.all - before.all,
                    kept: now.kept - before.kept,
                }),
                counted: Counted::between(&account.last.counted, counted),
                restarts: &restarts,
                logs_at_end: pod.logs_at_end(),
                drops: pod.drops(),
                held_before: account.last.sent.held,
            };
            let mut wrong = entry.mismatches();
            wrong.extend(not_steady(counted, &later.readings[index]));
            if counted.since != account.first.since {
                wrong.push("the counters were reset".to_owned());
            }
            account.last = Balance {
                sent: pod.tally().clone(),
                logged,
                counted: counted.clone(),
            };
            if !wrong.is_empty() {
                let message = format!(
                    "{}, quiet point {}, seed {}: {}\n{entry}  events of all servers: {events:?}",
                    pod.name(),
                    self.periods,
                    self.seed,
                    wrong.join("; ")
                );
                eprintln!("{message}");
                self.wrong.push(message);
            }
        }
        assert!(self.wrong.len() < ENOUGH, "{}", self.all_wrong());
    }

    /// Checks that the only requests and connections left are those that the clients hold.
    pub(super) fn ends(&mut self, pods: &[Pod<'_>], line: &Line) {
        for (pod, reading) in pods.iter().zip(&line.readings) {
            let held = pod.tally().held;
            let left = (reading.in_flight, reading.opaque, reading.connections);
            if left != (held, held, held) {
                let message = format!(
                    "{}: in flight, opaque, connections {left:?} at the end, not {held}",
                    pod.name()
                );
                eprintln!("{message}");
                self.wrong.push(message);
            }
        }
    }

    /// Prints the sums of all servers.
    ///
    /// # Panics
    /// If a comparison failed.
    pub(super) fn print(&self, pods: &[Pod<'_>]) {
        let columns = [
            "server", "restarts", "sent", "perhaps", "unusual", "logged", "counted", "answered",
            "aborted", "opaque", "excluded", "mean",
        ];
        let columns = columns.map(str::to_owned);
        for (pod, account) in pods.iter().zip(&self.accounts) {
            let Balance {
                sent,
                logged,
                counted,
            } = &account.last;
            let all = Counted::between(&account.first, counted);
            let time = (counted.at - account.first.at) as f64 / 1e3;
            let cells = [
                account.restarts.to_string(),
                sent.requests.to_string(),
                sent.maybe.to_string(),
                sent.unusual.to_string(),
                logged.map_or_else(String::new, |logged| logged.all.to_string()),
                all.started.to_string(),
                all.status.iter().sum::<u64>().to_string(),
                all.aborted.to_string(),
                all.opaque.to_string(),
                all.excluded.to_string(),
                format!(
                    "{:.3} ≤ {:.3} ≤ {:.3}",
                    sent.least as f64 / time,
                    all.integral as f64 / time,
                    sent.most as f64 / time
                ),
            ];
            row("soak", &columns, pod.name(), cells.to_vec());
        }
        assert!(self.wrong.is_empty(), "{}", self.all_wrong());
    }

    fn all_wrong(&self) -> String {
        format!(
            "{} mismatches; EBB_TEST_SOAK_SEED={} sends the same messages:\n{}",
            self.wrong.len(),
            self.seed,
            self.wrong.join("\n")
        )
    }
}

/// While nothing happens, the integral grows by the held requests, to the nanosecond.
fn not_steady(line: &Reading, later: &Reading) -> Option<String> {
    let grown = later.integral.wrapping_sub(line.integral);
    let held = line.in_flight.wrapping_mul(later.at - line.at);
    (grown != held || later.in_flight != line.in_flight).then(|| {
        format!(
            "the integral grew by {grown} ns·requests in {} ns with {} in flight, then {}",
            later.at - line.at,
            line.in_flight,
            later.in_flight
        )
    })
}

impl Counted {
    fn between(before: &Reading, after: &Reading) -> Self {
        let status = std::array::from_fn(|class| after.status[class] - before.status[class]);
        let completed = after.completed - before.completed;
        Self {
            started: after.started - before.started,
            status,
            aborted: after.aborted - before.aborted,
            opaque: completed - status.iter().sum::<u64>(),
            excluded: after.excluded - before.excluded,
            integral: after.integral.wrapping_sub(before.integral) / 1000,
            in_flight: after.in_flight,
            connections: after.connections,
        }
    }
}

impl Entry<'_> {
    /// Returns what is wrong.
    fn mismatches(&self) -> Vec<String> {
        let Self { sent, counted, .. } = self;
        let disturbed = !self.restarts.is_empty();
        let mut wrong = Vec::new();
        let mut check = |what: &str, number: u64, allowed: RangeInclusive<u64>| {
            if !allowed.contains(&number) {
                wrong.push(format!("{what}: {number}, not {allowed:?}"));
            }
        };
        check("failed operations of the clients", sent.errors, 0..=0);
        // Few servers cut connections without the client's doing if they are not restarted.
        check(
            "requests that got no response",
            sent.maybe,
            0..=if disturbed || self.drops { u64::MAX } else { 0 },
        );
        // An unusual message without a response may have come to a closed socket, if the server was restarted.
        let lost = if disturbed { sent.unanswered } else { 0 };
        check(
            "started",
            counted.started,
            (sent.requests - lost)..=(sent.requests + sent.maybe + sent.no_request),
        );
        let perhaps = sent.maybe + sent.unsure;
        for (class, name) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
            check(
                name,
                counted.status[class],
                sent.status[class]..=(sent.status[class] + perhaps),
            );
        }
        let answered: u64 = sent.status.iter().sum();
        check(
            "answered",
            counted.status.iter().sum(),
            answered..=(answered + perhaps),
        );
        let others = perhaps + sent.unanswered + sent.opaque + sent.no_request;
        check(
            "aborted",
            counted.aborted,
            sent.aborted..=(sent.aborted + others),
        );
        // The held connections of the period before may have ended.
        check(
            "opaque",
            counted.opaque,
            0..=(sent.opaque + self.held_before - sent.held),
        );
        check(
            "excluded",
            counted.excluded,
            sent.excluded..=(sent.excluded + sent.maybe),
        );
        check("in flight", counted.in_flight, sent.held..=sent.held);
        check("connections", counted.connections, sent.held..=sent.open);
        // The held connections go on while the clients pause, so their time is known only at their end.
        if sent.held == 0 && self.held_before == 0 {
            check("integral in µs", counted.integral, sent.least..=sent.most);
        }
        if let Some(logged) = self.logged {
            // A killed server may have answered each of its connections without having logged it.
            let unwritten = if disturbed && self.logs_at_end {
                sent.open
            } else {
                0
            };
            check(
                "logged lines of ordinary requests",
                logged.kept,
                sent.kept.saturating_sub(unwritten)..=(sent.kept + sent.maybe),
            );
            // No client can hide a request. Servers log some bytes that are no request, too.
            check(
                "logged lines",
                logged.all,
                0..=(counted.started + counted.excluded + sent.no_request),
            );
        }
        wrong
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  restarts: {:?}", self.restarts)?;
        writeln!(f, "  sent: {:?}", self.sent)?;
        writeln!(f, "  logged: {:?}", self.logged)?;
        writeln!(f, "  counted: {:?}", self.counted)
    }
}
