//! `cargo xtask bench overhead`: what clients notice of the counter, and of Knative's sidecar where
//! one is given.
//!
//! One server under the same load: bare, counted, behind the sidecar, in turn and in another order each
//! time, so that what the machine does meanwhile falls on all of them. It errs towards too large a
//! cost: the client shares the processors with the server, so there is nothing left that could hide it.
//! Beside what clients notice stands the CPU time of a request, which other programs on the machine
//! disturb much less.

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

/// `ebb watch`'s own: it wakes up once a second, as an agent does.
const INTERVAL: &str = "1s";

/// Seconds of load before each one that counts: whatever came before it, a rest or the start of Ebb, is
/// over by then.
const WARM_UP: u32 = 1;

/// Throughput and latency of a server bare, counted, and behind a queue-proxy
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Turns of all, of which the median is taken
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// Seconds of each load
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Knative's queue-proxy: takes part as the third
    #[arg(long, value_name = "FILE")]
    queue_proxy: Option<PathBuf>,
    /// The `ebb` to measure, instead of the one built beside this
    #[arg(long, value_name = "FILE")]
    ebb: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the server has to do for a request, and what may be lost at most.
struct Work {
    name: &'static str,
    path: &'static str,
    server: fn(&Site) -> std::net::SocketAddr,
    /// Throughput counted, as a share of bare.
    throughput: f64,
    /// 99th percentile of latency counted, in units of bare.
    p99: Option<f64>,
}

/// The aim for the first is 0.96.
const WORKS: [Work; 2] = [
    Work {
        name: "nginx, 600 bytes",
        path: "/small",
        server: |site| site.nginx().http1(),
        throughput: 0.93,
        p99: Some(1.10),
    },
    Work {
        name: "1 ms of CPU",
        path: "/?burn=1",
        server: |site| site.sample().address(),
        throughput: 0.995,
        // Of two dozen requests that wait in a queue the latency is the queue's.
        p99: None,
    },
];

/// All that was measured, work by work.
#[derive(Debug, Serialize)]
struct Results(Vec<Figures>);

/// Measures and prints; whether all bounds are kept.
///
/// # Errors
/// Something that it needs is not there, or it was interrupted.
///
/// # Panics
/// A server or client could not be started.
pub(super) fn run(options: &Options) -> Result<bool> {
    let ebb = match &options.ebb {
        Some(path) => path.clone(),
        None => program::ours("ebb")?,
    };
    let site = Site::new()?;
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
