//! `cargo xtask bench kernel`: the time of the kernel programs per request and per packet, as the kernel measures it,
//! compared with programs that do nothing.
//!
//! Two identical pods get the same load in turn: one has Ebb's programs on its cgroup, the other has empty programs.
//! The kernel's measurement of a run costs about as much as an empty program; the times of both pods include this cost.

mod packets;
mod pods;
mod print;
mod requests;

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use super::program;
use pods::Pods;

/// Time per request and per packet in the kernel programs, compared with empty programs
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Number of rounds; each result is the median of the rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Duration of each load, in seconds
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Measure only rows whose name contains this text; can be given several times
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// The `ebb` program to measure, instead of the one built next to this program
    #[arg(long, value_name = "FILE")]
    ebb: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

impl Options {
    fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| row.contains(text))
    }
}

/// The results of all measurements.
#[derive(Debug, Serialize)]
struct Results {
    requests: Vec<requests::Figures>,
    packets: Vec<packets::Figures>,
    /// Number of runs of Ebb's programs while only the pod with empty programs received load. It must be 0.
    runs_for_others: u64,
}

impl Results {
    fn are_good(&self) -> bool {
        self.runs_for_others == 0
            && self.requests.iter().all(requests::Figures::is_good)
            && self.packets.iter().all(packets::Figures::is_good)
    }
}

/// Runs the measurement and prints the results. Returns whether all results are within their bounds.
///
/// # Errors
/// If something that the measurement needs is missing, or the measurement was interrupted.
///
/// # Panics
/// If a server or client cannot be started.
pub(super) fn run(options: &Options) -> Result<bool> {
    let mut requests = requests::rows(options);
    let mut packets = packets::rows(options);
    if requests.is_empty() && packets.is_empty() {
        bail!(
            "--only: no row has {} in its name; the rows are: {}",
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
