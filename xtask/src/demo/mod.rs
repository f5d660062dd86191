//! `cargo xtask demo`: one service scales 0 → 1 → N → 0 on the concurrency that the kernel counts.
//!
//! The demo starts `ebb run` with the bundled sample server, sends requests by a script, and records every decision. It
//! ends by itself, and it is also a check: the exit status is 0 only if the service scaled 0 → 1 → N → 0 and every
//! response was a 200.

mod chart;
mod event;
mod load;
mod picture;
mod program;
#[cfg(test)]
mod sample;
mod script;
mod steps;
mod summary;
mod timeline;
mod verdict;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{FIXTURES_PACKAGE, Workspace},
    exec,
    root::Root,
    say, setup,
};

/// Watch a service scale 0 → 1 → N → 0 under a scripted load (takes a minute and a half after the build)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for timeline.csv, timeline.svg and the logs
    #[arg(long, value_name = "DIR", default_value = "ebb-demo")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::toolchain()?;
    let workspace = Workspace::find()?;
    build(&workspace)?;
    let root = Root::ask("load the kernel programs that count requests")?;

    fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot create {}", args.dir.display()))?;
    let start = Instant::now();
    say::begin("running ebb on the sample server under a scripted load");
    script::announce();
    let played = script::play(&root, &workspace.bin_dir(), &args.dir)?;
    say::done("all phases of the load are complete", start.elapsed());

    let csv = args.dir.join("timeline.csv");
    let svg = args.dir.join("timeline.svg");
    played.timeline.write_csv(&csv)?;
    picture::draw(&svg, &played)?;

    println!("{}", chart::Chart(&played.timeline));
    println!("{}", summary::Summary(&played));
    let verdict = verdict::Verdict::of(&played);
    println!("{verdict}");
    println!("timeline: {}\npicture:  {}", csv.display(), svg.display());
    Ok(if verdict.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn build(workspace: &Workspace) -> Result<()> {
    say::begin("building ebb and the sample server");
    let start = Instant::now();
    exec::run(&mut workspace.cargo([
        "build",
        "--bins",
        // The demo does not need the feature `png` of `ebb simulate`, which requires 45 more crates.
        "--no-default-features",
        "--package",
        "ebb",
        "--package",
        FIXTURES_PACKAGE,
    ]))?;
    say::done("built", start.elapsed());
    Ok(())
}
