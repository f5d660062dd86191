//! `cargo xtask bench kernel`: nanoseconds per request and per packet, from the kernel's own accounting, compared with
//! programs that do nothing.
//!
//! Two identical pods are loaded in turn: one has Ebb's programs on its cgroup, the other has empty programs. Measuring a
//! run costs about as much as an empty program; both figures include that cost.

mod packets;
mod pods;
mod print;
mod requests;

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use super::program;
use pods::Pods;

/// Nanoseconds per request and per packet in the kernel programs, compared with empty programs
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Turns, whose median is the result
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of each load
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Only rows whose name contains this; can be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// The `ebb` to measure, instead of the one built next to this program
    #[arg(long, value_name = "FILE")]
    ebb: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| row.contains(text))
    }
}

/// All measurements.
#[derive(Debug, Serialize)]
struct Results {
    requests: Vec<requests::Figures>,
    packets: Vec<packets::Figures>,
    /// Runs of Ebb's programs while only the other pod was loaded.
    runs_for_others: u64,
}

impl Results {
    fn are_good(&self) -> bool {
        self.runs_for_others == 0
            && self.requests.iter().all(requests::Figures::is_good)
            && self.packets.iter().all(packets::Figures::is_good)
    }
}

/// Measures and prints. Returns whether all bounds are kept.
///
/// # Errors
/// If something that the measurement needs is missing, or it was interrupted.
///
/// # Panics
/// If a server or client cannot be started.
pub(super) fn run(options: &Options) -> Result<bool> {
    let mut requests = requests::rows(options);
    let mut packets = packets::rows(options);
    if requests.is_empty() && packets.is_empty() {
        bail!(
            "--only: no row has {} in its name; there are: {}",
            options.only.join(" or "),
            requests::names()
                .chain(packets::NAMES)
                .collect::<Vec<_>>()
                .join("; ")
        );
    }
    let ebb = match &options.ebb {
        Some(path) => path.clone(),
        None => program::ours("ebb")?,
    };
    let mut pods = Pods::start(&ebb)?;
    for round in 1..=options.rounds {
        for row in &mut requests {
            eprintln!("  round {round} of {}: {}", options.rounds, row.name());
            row.turn(&mut pods, options.seconds)?;
        }
        for row in &mut packets {
            eprintln!("  round {round} of {}: {}", options.rounds, row.name());
            row.turn(&mut pods, options.seconds)?;
        }
    }
    let results = Results {
        requests: requests.iter().map(requests::Row::figures).collect(),
        packets: packets.iter().flat_map(packets::Row::figures).collect(),
        runs_for_others: pods.runs_for_others(),
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print::print(&results);
    }
    Ok(results.are_good())
}
