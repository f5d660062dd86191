//! The activator's library alone, as a separate program. The tests and the benchmark of proxied traffic use it to examine
//! the process' memory and its exit, and to add and remove backends on command.
//!
//! It prints `{"listening":…,"control":…}`, and answers each line on its control port with one line of JSON: `add ID
//! ADDRESS`, `remove ID`, `drained ID`, `state`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, ValueEnum};
use ebb_proxy::{Account, Budget, Limits, Pool, Protocol, Reason, serve};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A backend that exists from the start.
    #[arg(long)]
    backend: Vec<SocketAddr>,
    /// Protocol of the backends.
    #[arg(long, value_enum, default_value = "detect")]
    protocol: Speech,
    /// Most requests on a backend at a time.
    #[arg(long, default_value_t = 0)]
    hard_limit: u32,
    /// Most queued requests.
    #[arg(long, default_value_t = 10_000)]
    max_queued: usize,
    /// Longest time that a request is queued.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    max_wait: Duration,
    /// Longest time for reading a request header.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    header_timeout: Duration,
    /// Most bytes that clients may occupy.
    #[arg(long)]
    queue_bytes: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speech {
    Detect,
    Http1,
    Http2,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // As many connections as the system allows.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let limits = Limits {
        max_queued: options.max_queued,
        max_wait: options.max_wait,
        header_timeout: options.header_timeout,
        hard_limit: options.hard_limit,
        memory: options
            .queue_bytes
            .map_or_else(Account::unbounded, |bytes| Budget::new(bytes).whole()),
        ..Limits::default()
    };
    ebb_proxy::runtime(&limits)?.block_on(run(options, limits))
}

async fn run(options: Options, limits: Limits) -> anyhow::Result<()> {
    let pool = Pool::new(limits);
    pool.set_protocol(match options.protocol {
        Speech::Detect => Protocol::Detect,
        Speech::Http1 => Protocol::Http1,
        Speech::Http2 => Protocol::Http2,
    });
    for (id, &backend) in (1..).zip(&options.backend) {
        pool.add(id, backend);
    }
    let listener = TcpListener::bind(options.listen).await?;
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let hello = json!({"listening": listener.local_addr()?, "control": control.local_addr()?});
    writeln!(std::io::stdout(), "{hello}")?;
    let commands = async {
        loop {
            let (stream, _) = control.accept().await?;
            tokio::spawn(obey(stream, pool.clone()));
        }
    };
    tokio::select! {
        served = serve(listener, pool.clone(), std::future::pending()) => Ok(served?),
        broken = commands => broken,
    }
}

/// Serves one control connection to its end.
async fn obey(stream: TcpStream, pool: Pool) -> anyhow::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["add", id, address] => pool.add(id.parse()?, address.parse()?),
            ["remove", id] => pool.remove(id.parse()?),
            ["drained", id] => pool.drained(id.parse()?).await,
            ["state"] => {}
            _ => bail!("no such command: {line}"),
        }
        let state = state(&pool).context("the state")?;
        to.write_all(format!("{state}\n").as_bytes()).await?;
    }
    Ok(())
}

fn state(pool: &Pool) -> anyhow::Result<Value> {
    let (held, counts) = (pool.held(), pool.counts());
    let refused: Map<_, _> = Reason::ALL
        .iter()
        .map(|&reason| (reason.label().to_owned(), counts.refused(reason).into()))
        .collect();
    Ok(json!({
        "held": held.now,
        "held_ever": held.total,
        "answered": counts.answered,
        "resent": counts.resent,
        "refused": refused,
    }))
}
