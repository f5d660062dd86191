//! `cargo xtask kernels`: the counter on older and newer kernels than this machine's.
//!
//! Debian's own kernels, each with a first process that loads the real programs and checks what they count
//! (`ebb-kernel-check` of the tests' package), on an emulated machine: no root, no KVM, nothing installed
//! but the emulator. A kernel that is not to be had is said to be so and counted as skipped; one that does
//! not come to its end has failed.

mod apt;
mod boot;
mod debian;
mod image;
mod outcome;
mod report;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    cargo::{TESTS_PACKAGE, Workspace},
    exec, say, setup,
};

pub(crate) use self::{
    apt::KEYRING,
    boot::EMULATOR,
    debian::{KERNELS, Kernel, Release},
    outcome::{Outcome, Verdict},
    report::Report,
};

/// Boot other kernels and check that the programs load and count there
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which kernels; all of them if none is named
    #[arg(value_name = "VERSION", value_parser = release)]
    versions: Vec<&'static Release>,
    /// Fetch Debian's newest packages of them, instead of using those fetched before
    #[arg(long)]
    update: bool,
    /// Only the checks whose names hold this, and the first, which loads the programs
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

fn release(version: &str) -> Result<&'static Release, String> {
    Release::find(version).ok_or_else(|| {
        let known: Vec<_> = KERNELS.iter().map(|release| release.version).collect();
        format!("no such kernel here; there are {}", known.join(", "))
    })
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::toolchain()?;
    setup::kernel_tools()?;
    let workspace = Workspace::find()?;
    say::begin("building the checks");
    let mut cargo = workspace.cargo(["build", "--package", TESTS_PACKAGE, "--no-default-features"]);
    for name in image::programs() {
        cargo.args(["--bin", name]);
    }
    exec::run(&mut cargo)?;

    let mut releases = args.versions.clone();
    if releases.is_empty() {
        releases.extend(KERNELS);
    }
    let mut outcomes = Vec::new();
    for release in releases {
        let outcome = Kernel::get(release, args.update)
            .and_then(|kernel| check(&workspace, &kernel, args.only.as_deref()));
        outcomes.push(outcome.unwrap_or_else(|error| {
            say::failed(&format!("kernel {}: {error:#}", release.version));
            Outcome::not_run(release.version)
        }));
    }
    println!("{}", Report(&outcomes));
    Ok(if outcomes.iter().all(Outcome::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Boots one kernel with the checks, which have been built.
///
/// # Errors
/// It cannot be booted, or does not end.
pub(crate) fn check(workspace: &Workspace, kernel: &Kernel, only: Option<&str>) -> Result<Outcome> {
    // Beside the programs, not in the cache: two checkouts may do this at the same time.
    let folder = workspace.bin_dir().join("kernels");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let initramfs = image::initramfs(workspace, kernel, &folder).context("no initramfs")?;
    let finished = boot::boot(kernel, &initramfs, &folder, only)?;
    Ok(Outcome::read(kernel.version, &finished))
}
