//! `ebb watch`: attach to a cgroup and print what the kernel counts, one line per interval.
//!
//! Each line shows the difference between two cumulative readings, so a late line is still correct. Only whole
//! intervals are printed. Warnings are logged on stderr.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use ebb_agent::{
    Interval, Intervals, Reading, Rules,
    counter::{Counter, PodId},
};
use ebb_metrics::signals::Signals;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{listeners::Monitor, option};

/// Minimum of `--interval`. With shorter intervals, the printing itself would dominate the result.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Show what the kernel counts in a cgroup
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The cgroup v2 directory; the cgroups below it are counted too
    #[arg(long, value_name = "DIR")]
    cgroup: PathBuf,
    /// Count only these ports; without this option, all listening ports, except connections from inside the cgroup
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = option::served_port)]
    ports: Vec<u16>,
    /// Count only connections from inside the cgroup, such as those from a sidecar to its application
    #[arg(long)]
    only_inside: bool,
    /// Do not count requests to this path, whatever their query; can be given several times
    #[arg(long = "exclude-path", value_name = "PATH")]
    exclude_paths: Vec<String>,
    /// Time between two lines, at least 10ms
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// End after this time; without this option, end on Ctrl-C
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    match option::duration(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err(format!(
            "must be at least {}ms",
            SHORTEST_INTERVAL.as_millis()
        ));
    }
    Ok(interval)
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    ebb_metrics::log::begin();
    // The cgroup is checked before the kernel programs are loaded, because loading takes a moment.
    ebb_agent::cgroup::id(&args.cgroup)?;
    let mut counter = Counter::load()?;
    let rules = Rules {
        ports: args.ports.clone(),
        only_inside: args.only_inside,
        exclude_paths: args.exclude_paths.clone(),
    };
    let pod = counter.attach(&args.cgroup, &rules)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(watch(&args, &mut counter, pod))
}

async fn watch(args: &Args, counter: &mut Counter, pod: PodId) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let started = Instant::now();
    let mut ticks = interval_at(started + args.interval, args.interval);
    // After a stall, one line covers the whole time of the stall; the missed lines are not printed later.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut intervals = Intervals::after(counter.read(pod)?);
    let mut events = total(counter, 0)?;
    let listeners = Monitor::start(args.cgroup.clone(), args.ports.clone());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = signals.next() => return Ok(()),
        }
        let later = counter.read(pod)?;
        counter.flush_log();
        let interval = intervals.next(later.clone());
        let line = if args.json {
            let earlier = std::mem::replace(&mut events, total(counter, listeners.found())?);
            json(&interval, &later, since(earlier, &events))?
        } else {
            text(&interval, &later)
        };
        if let Err(error) = writeln!(std::io::stdout(), "{line}") {
            // The reader (such as `head`) has closed the pipe, which is not an error.
            return if error.kind() == std::io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(error.into())
            };
        }
        if args
            .duration
            .is_some_and(|duration| started.elapsed() + args.interval / 2 > duration)
        {
            return Ok(());
        }
    }
}

/// A line of JSON. Its keys are a stable interface (see the README).
#[derive(Serialize)]
struct Line {
    t: f64,
    interval: f64,
    concurrency: f64,
    in_flight: u64,
    requests: u64,
    completed: u64,
    excluded: u64,
    connections: u64,
    in_flight_by_protocol: ByProtocol,
    status: ByStatus,
    latency_ms: Latency,
    /// Rare events in the interval, by kind.
    events: BTreeMap<&'static str, u64>,
}

/// The kind of the event that a listening socket outside the cgroup was found.
const LISTENER_OUTSIDE: &str = "listener_outside_cgroup";

/// Returns the number of events so far, by kind: those of the kernel programs, and `outside` listening sockets that were
/// created outside the cgroup.
fn total(counter: &mut Counter, outside: u64) -> anyhow::Result<BTreeMap<&'static str, u64>> {
    let mut events = BTreeMap::from(counter.events()?.by_kind());
    events.insert(LISTENER_OUTSIDE, outside);
    Ok(events)
}

/// Returns the events that happened between two totals, by kind.
fn since(
    mut earlier: BTreeMap<&'static str, u64>,
    later: &BTreeMap<&'static str, u64>,
) -> BTreeMap<&'static str, u64> {
    for (kind, count) in &mut earlier {
        *count = later
            .get(kind)
            .map_or(0, |later| later.saturating_sub(*count));
    }
    earlier
}

#[derive(Serialize)]
struct ByProtocol {
    http1: u64,
    http2: u64,
    upgraded: u64,
    opaque: u64,
}

#[derive(Serialize)]
struct ByStatus {
    #[serde(rename = "1xx")]
    informational: u64,
    #[serde(rename = "2xx")]
    successful: u64,
    #[serde(rename = "3xx")]
    redirection: u64,
    #[serde(rename = "4xx")]
    client_error: u64,
    #[serde(rename = "5xx")]
    server_error: u64,
}

/// Latency percentiles in milliseconds; `null` if no request was completed.
#[derive(Serialize)]
struct Latency {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

impl Latency {
    fn of(interval: &Interval) -> Self {
        let percentile = |share| {
            interval
                .percentile(share)
                .map(|value| (value * 1e3).round() / 1e3)
        };
        Self {
            p50: percentile(0.5),
            p90: percentile(0.9),
            p99: percentile(0.99),
        }
    }
}

fn json(
    interval: &Interval,
    later: &Reading,
    events: BTreeMap<&'static str, u64>,
) -> anyhow::Result<String> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let [
        informational,
        successful,
        redirection,
        client_error,
        server_error,
    ] = interval.status;
    let line = Line {
        t: now.as_secs_f64(),
        interval: interval.seconds,
        concurrency: interval.concurrency,
        in_flight: later.in_flight,
        requests: interval.started,
        completed: interval.completed,
        excluded: interval.excluded,
        connections: later.connections,
        in_flight_by_protocol: ByProtocol {
            http1: later.http1(),
            http2: later.http2,
            upgraded: later.upgraded,
            opaque: later.opaque,
        },
        status: ByStatus {
            informational,
            successful,
            redirection,
            client_error,
            server_error,
        },
        latency_ms: Latency::of(interval),
        events,
    };
    serde_json::to_string(&line).context("cannot write a line as JSON")
}

fn text(interval: &Interval, later: &Reading) -> String {
    let per_second = if interval.seconds > 0.0 {
        interval.started as f64 / interval.seconds
    } else {
        0.0
    };
    let mut line = format!(
        "concurrency {:<8.2} in flight {:<6} requests/s {:<9.1} connections {:<6}",
        interval.concurrency, later.in_flight, per_second, later.connections,
    );
    if let Latency {
        p50: Some(p50),
        p99: Some(p99),
        ..
    } = Latency::of(interval)
    {
        line += &format!(" p50 {p50:.1} ms, p99 {p99:.1} ms");
    }
    if later.opaque > 0 {
        line += &format!(" (opaque: {})", later.opaque);
    }
    if interval.excluded > 0 {
        line += &format!(" (excluded: {})", interval.excluded);
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_since_the_previous_row() {
        let earlier = BTreeMap::from([("mptcp", 2), ("resumed", 5)]);
        let later = BTreeMap::from([("mptcp", 6), ("resumed", 5)]);
        let expected = BTreeMap::from([("mptcp", 4), ("resumed", 0)]);
        assert_eq!(since(earlier, &later), expected);
    }

    #[test]
    fn durations_say_what_is_allowed() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(interval("1ms").unwrap_err(), "must be at least 10ms");
        assert_eq!(duration("0s").unwrap_err(), "must be longer than 0s");
        assert!(duration("60").unwrap_err().contains("unit"));
    }
}
