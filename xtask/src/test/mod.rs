//! `cargo xtask test`: runs all checks of this checkout with one command.
//!
//! A step that fails does not stop those after it. A step that cannot run on this machine counts as skipped, with its
//! reason. The ten slowest groups of tests are listed: a group consists of the tests of one runner with the same first
//! part in their names, or of a whole step if its runner prints no groups. The last line is the verdict alone:
//! `N passed, N failed, N skipped`, summed over all test runners; a check without tests of its own (formatting, lints)
//! counts as one.

mod count;
mod crates;
mod fuzz;
mod kernels;
mod leftovers;
mod report;
mod scripts;
mod steps;
mod words;

use std::process::ExitCode;

use anyhow::Result;

use crate::{cargo::Workspace, say};
use report::Report;

/// Set up, check, build and test everything; the last line counts the tests by outcome
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests that need neither root nor the kernel: no integration tests
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let before = leftovers::Snapshot::take(&workspace);
    let mut report = Report::default();
    for step in steps::plan(args.quick) {
        say::begin(step.name);
        report.add(step.name, || (step.run)(&workspace));
    }
    report.add("nothing left behind", || Ok(before.compare(&workspace)));
    println!("{report}");
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
