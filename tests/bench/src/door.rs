//! `ebb-bench door`: the cost per request of the path through the activator.
//!
//! nginx serves a page of 600 bytes, directly, through `ebb-test-proxy` (the activator's library), and optionally
//! through Knative's queue-proxy. The variants are measured in turn, and the order changes with each round. Bias:
//! towards a too high cost, because client, proxy and server share the processors.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use ebb_fixtures::{eventually, proxy::TestProxy};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use super::{
    interrupt, load,
    median::median,
    overhead::queue_proxy::QueueProxy,
    site::Site,
    table::{at_least, at_most, table},
};

const PATH: &str = "/small";

/// The load at which the added latency is measured: `RATE` requests per second in total, shared by `CONNECTIONS`
/// connections. Each variant can serve far more requests per second.
const RATE: u32 = 1000;
const CONNECTIONS: u32 = 10;

/// Bounds of the results: maximum added latency in ms, minimum ratio of the rate through `ebb-test-proxy` to the rate
/// through the queue-proxy, maximum memory of `ebb-test-proxy` in MiB.
const ADDED_MS: f64 = 0.2;
const TIMES_QUEUE_PROXY: f64 = 3.0;
const MEMORY_MIB: f64 = 200.0;

/// Number of requests that are queued to measure their memory.
const HELD: usize = 10_000;

/// Time limit until ten thousand requests are queued. The queueing takes seconds on a loaded machine.
const SOON: Duration = Duration::from_secs(60);

/// Latency, throughput and memory of the activator
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Number of rounds; each result is the median of the rounds. In a round, each variant is measured once
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Duration of each load, in seconds
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Program file of Knative's queue-proxy, to measure it as the third variant
    #[arg(long, value_name = "FILE")]
    queue_proxy: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Results {
    /// Median latency at 1000 requests per second, in ms.
    direct_p50_ms: f64,
    door_p50_ms: f64,
    /// Difference of the latencies through `ebb-test-proxy` and directly to nginx, in ms: the median over all rounds.
    added_p50_ms: f64,
    /// Requests per second at saturation.
    direct_rate: f64,
    door_rate: f64,
    queue_proxy_rate: Option<f64>,
    /// Ratio of the rate through `ebb-test-proxy` to the rate through the queue-proxy: the median over all rounds.
    /// `None` without a queue-proxy.
    times_queue_proxy: Option<f64>,
    /// Resident memory of `ebb-test-proxy`, in MiB: without queued requests, and with [`HELD`] queued requests.
    memory_idle_mib: f64,
    memory_held_mib: f64,
}

/// Runs the measurement and prints the results. Returns whether all results are within their bounds.
///
/// # Errors
/// If something that the measurement needs is missing, or the measurement was interrupted.
///
/// # Panics
/// If a server or client cannot be started.
pub(super) fn run(options: &Options) -> Result<bool> {
    let site = Site::new();
    let server = site.nginx().address();
    let door = TestProxy::of(server, &[]);
    let proxy = options
        .queue_proxy
        .as_ref()
        .map(|program| QueueProxy::start(program, server))
        .transpose()
        .context("--queue-proxy")?;

    let mut turns = Vec::new();
    for number in 0..options.pairs {
        eprintln!("  {} of {}", number + 1, options.pairs);
        turns.push(Turn::take(
            number,
            options.seconds,
            server,
            door.address(),
            proxy.as_ref().map(QueueProxy::address),
        )?);
    }
    let (memory_idle_mib, memory_held_mib) = held()?;
    let all = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure));
    let results = Results {
        direct_p50_ms: all(|turn| turn.direct.p50),
        door_p50_ms: all(|turn| turn.door.p50),
        added_p50_ms: all(|turn| turn.door.p50 - turn.direct.p50),
        direct_rate: all(|turn| turn.direct.rate),
        door_rate: all(|turn| turn.door.rate),
        queue_proxy_rate: proxy
            .is_some()
            .then(|| all(|turn| turn.proxy.unwrap_or(f64::NAN))),
        times_queue_proxy: proxy
            .is_some()
            .then(|| all(|turn| turn.door.rate / turn.proxy.unwrap_or(f64::NAN))),
        memory_idle_mib,
        memory_held_mib,
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        results.print();
    }
    Ok(results.is_good())
}

impl Results {
    fn is_good(&self) -> bool {
        self.added_p50_ms <= ADDED_MS
            && self
                .times_queue_proxy
                .is_none_or(|times| times >= TIMES_QUEUE_PROXY)
            && self.memory_held_mib <= MEMORY_MIB
    }

    fn print(&self) {
        let none = String::new;
        let mut rows = vec![
            [
                format!("p50 at {RATE} requests/s, direct, ms"),
                format!("{:.3}", self.direct_p50_ms),
                none(),
            ],
            [
                "through the door, ms".to_owned(),
                format!("{:.3}", self.door_p50_ms),
                none(),
            ],
            [
                "added, ms".to_owned(),
                format!("{:.3}", self.added_p50_ms),
                at_most(self.added_p50_ms, ADDED_MS),
            ],
            [
                "requests/s at saturation, direct".to_owned(),
                format!("{:.0}", self.direct_rate),
                none(),
            ],
            [
                "through the door".to_owned(),
                format!("{:.0}", self.door_rate),
                none(),
            ],
        ];
        if let (Some(rate), Some(times)) = (self.queue_proxy_rate, self.times_queue_proxy) {
            rows.push([
                "through queue-proxy".to_owned(),
                format!("{rate:.0}"),
                none(),
            ]);
            rows.push([
                "door to queue-proxy".to_owned(),
                format!("{times:.2}"),
                at_least(times, TIMES_QUEUE_PROXY),
            ]);
        }
        rows.push([
            "memory, MiB".to_owned(),
            format!("{:.1}", self.memory_idle_mib),
            none(),
        ]);
        rows.push([
            format!("with {HELD} requests held"),
            format!("{:.1}", self.memory_held_mib),
            at_most(self.memory_held_mib, MEMORY_MIB),
        ]);
        println!("{}", table(["", "", "bound"], rows));
    }
}

struct Outcome {
    /// Median latency at [`RATE`] requests per second, in ms.
    p50: f64,
    /// Requests per second at saturation.
    rate: f64,
}

struct Turn {
    direct: Outcome,
    door: Outcome,
    proxy: Option<f64>,
}

impl Turn {
    /// Measures all variants once. The order of the variants alternates from round to round, because a measurement
    /// right after a load differs from one after a pause.
    fn take(
        number: u32,
        seconds: u32,
        server: SocketAddr,
        door: SocketAddr,
        proxy: Option<SocketAddr>,
    ) -> Result<Self> {
        let measure = |to| {
            Ok::<_, anyhow::Error>(Outcome {
                p50: p50(to, seconds)?,
                rate: load::wrk(to, PATH, None, seconds)?.rate,
            })
        };
        let proxied = || {
            proxy
                .map(|to| Ok::<_, anyhow::Error>(load::wrk(to, PATH, None, seconds)?.rate))
                .transpose()
        };
        Ok(if number.is_multiple_of(2) {
            Turn {
                direct: measure(server)?,
                door: measure(door)?,
                proxy: proxied()?,
            }
        } else {
            Turn {
                proxy: proxied()?,
                door: measure(door)?,
                direct: measure(server)?,
            }
        })
    }
}

/// Returns the median latency at [`RATE`] requests per second, in ms. Each request has a due time, but its latency
/// counts from the moment when it is sent. So if a slow request delays the next one on its connection, the latency does
/// not contain this delay.
fn p50(to: SocketAddr, seconds: u32) -> Result<f64> {
    interrupt::check()?;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|number| thread::spawn(move || client(to, number, seconds)))
        .collect();
    let mut latencies = Vec::new();
    for client in clients {
        match client.join() {
            Ok(times) => latencies.extend(times?),
            Err(_) => bail!("a client broke down"),
        }
    }
    Ok(median(latencies))
}

fn client(to: SocketAddr, number: u32, seconds: u32) -> Result<Vec<f64>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let every = Duration::from_secs(1) * CONNECTIONS / RATE;
    // The due times of the connections differ, so that the requests are spread evenly.
    let mut due = Instant::now() + every * number / CONNECTIONS;
    let mut times = Vec::new();
    for _ in 0..seconds * RATE / CONNECTIONS {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        stream.write_all(request.as_bytes())?;
        answer(&mut stream)?;
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        due += every;
    }
    Ok(times)
}

/// Reads one response. The header section must give the length of the body.
fn answer(stream: &mut TcpStream) -> Result<()> {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            bail!("closed in an answer");
        }
        read.extend_from_slice(&buffer[..count]);
        let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            bail!("the status of a response was not 200: {text}");
        }
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no length")?.trim().parse()?;
        if read.len() >= head + 4 + length {
            return Ok(());
        }
    }
}

/// Returns the memory of an `ebb-test-proxy` without backends, in MiB, as (without queued requests, with [`HELD`]
/// queued requests).
fn held() -> Result<(f64, f64)> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut door = TestProxy::start(&[]);
    let idle = door.memory();
    let mut clients = Vec::new();
    for _ in 0..HELD {
        let mut stream = TcpStream::connect(door.address())?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")?;
        clients.push(stream);
    }
    eventually("ten thousand held", SOON, || {
        (door.state().held == HELD as u64).then_some(())
    });
    Ok((idle, door.memory()))
}
