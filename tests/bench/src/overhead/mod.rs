//! `cargo xtask bench overhead`: how much the counter slows a server down for its clients. If a Knative queue-proxy (a
//! sidecar) is given, its slowdown is measured too.
//!
//! One server gets the same load in three variants: bare, counted by Ebb, and behind the sidecar. The variants are
//! measured in turn, and the order changes with each round, so that disturbances on the machine affect all of them.
//! Bias: towards a too high cost, because the client shares the processors with the server, and no idle processor can
//! hide the cost. The CPU time per request is reported too, because other programs on the machine disturb it much less.

mod cpu;
mod print;
pub(super) mod queue_proxy;
mod turns;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{counted::Counted, load, program, site::Site};
use queue_proxy::QueueProxy;
use turns::{Figures, Outcome, Turns};

/// The default interval of `ebb watch`. With it, `ebb watch` wakes up once a second, as an agent does.
const INTERVAL: &str = "1s";

/// Seconds of unmeasured load before each measured load. This load makes the measured load independent of a previous
/// pause and of the start of Ebb.
const WARM_UP: u32 = 1;

/// Throughput and latency of a server: bare, counted, and behind a queue-proxy
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Number of rounds; each result is the median of the rounds. In a round, each variant is measured once
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Duration of each load, in seconds
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Program file of Knative's queue-proxy, to measure it as the third variant
    #[arg(long, value_name = "FILE")]
    queue_proxy: Option<PathBuf>,
    /// The `ebb` program to measure, instead of the one built next to this program
    #[arg(long, value_name = "FILE")]
    ebb: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// One kind of work that a request causes in the server, and the bounds of the results measured with it.
struct Work {
    name: &'static str,
    path: &'static str,
    server: fn(&Site) -> std::net::SocketAddr,
    /// Minimum throughput of the server while Ebb counts its requests, as a share of the throughput of the bare server.
    throughput: f64,
    /// Maximum 99th percentile of the latency of the server while Ebb counts its requests, as a multiple of that of the
    /// bare server; `None`: no bound.
    p99: Option<f64>,
}

/// The kinds of work that are measured. For the first kind, the bound of the throughput is 0.93, and the design's goal
/// is 0.96.
const WORKS: [Work; 2] = [
    Work {
        name: "nginx, 600 bytes",
        path: "/small",
        server: |site| site.nginx().address(),
        throughput: 0.93,
        p99: Some(1.10),
    },
    Work {
        name: "1 ms of CPU",
        path: "/?burn=1",
        server: |site| site.sample().address(),
        throughput: 0.995,
        // About two dozen requests are queued at a time, so the latency depends on the length of the queue. Therefore
        // the latency has no bound.
        p99: None,
    },
];

/// The results, one entry per kind of work.
#[derive(Debug, Serialize)]
struct Results(Vec<Figures>);

/// Runs the measurement and prints the results. Returns whether all results are within their bounds.
///
/// # Errors
/// If something that the measurement needs is missing, or the measurement was interrupted.
///
/// # Panics
/// If a server or client cannot be started.
pub(super) fn run(options: &Options) -> Result<bool> {
    let ebb = match &options.ebb {
        Some(path) => path.clone(),
        None => program::ours("ebb")?,
    };
    let site = Site::new();
    let mut results = Results(Vec::new());
    for work in &WORKS {
        let server = (work.server)(&site);
        let proxy = options
            .queue_proxy
            .as_ref()
            .map(|program| QueueProxy::start(program, server))
            .transpose()
            .context("--queue-proxy")?;
        let mut cgroups = vec![site.cgroup()];
        cgroups.extend(proxy.as_ref().map(QueueProxy::cgroup));
        let load = |to| {
            load::wrk(to, work.path, None, WARM_UP)?;
            let before = cpu::spent(&cgroups)?;
            let report = load::wrk(to, work.path, None, options.seconds)?;
            Ok(Outcome {
                rate: report.rate,
                p99: report.p99,
                cpu: (cpu::spent(&cgroups)? - before).as_secs_f64() * 1e6 / report.requests,
            })
        };
        let bare = || load(server);
        let counted = || {
            let watch = Counted::start(&ebb, site.cgroup(), INTERVAL);
            let outcome = load(server)?;
            watch.end();
            Ok(outcome)
        };
        let behind = proxy.as_ref().map(|proxy| || load(proxy.address()));

        let mut turns = Turns::default();
        for pair in 0..options.pairs {
            eprintln!("  {}: {} of {}", work.name, pair + 1, options.pairs);
            turns.take(pair, bare, counted, behind)?;
        }
        results.0.push(turns.figures(work));
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print::print(&results);
    }
    Ok(results.0.iter().all(Figures::is_good))
}
