//! `cargo xtask kernels`: checks the counter on kernels that are older and newer than the kernel of this machine.
//!
//! Debian's own kernels boot on an emulated machine, with a first process that loads the real programs and checks their counts
//! (`tests/kernel-check`). This needs no root, no KVM and no package but the emulator. A kernel that
//! cannot be fetched is reported and counted as skipped; a kernel whose checks do not end has failed.

mod apt;
mod boot;
mod debian;
mod image;
mod outcome;
mod report;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{cargo::Workspace, exec, say, setup};

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
    /// Kernels to check; all kernels if none is given
    #[arg(value_name = "VERSION", value_parser = release)]
    versions: Vec<&'static Release>,
    /// Fetch Debian's newest packages of these kernels, instead of using the packages in the cache
    #[arg(long)]
    update: bool,
    /// Run only the checks with this text in their names, and always the first check, which loads the programs
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

fn release(version: &str) -> Result<&'static Release, String> {
    Release::find(version).ok_or_else(|| {
        let known: Vec<_> = KERNELS.iter().map(|release| release.version).collect();
        format!("unknown kernel; the kernels are {}", known.join(", "))
    })
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    setup::toolchain()?;
    setup::kernel_tools()?;
    let workspace = Workspace::find()?;
    say::begin("building the checks");
    let mut cargo = workspace.cargo(["build"]);
    for (package, name, _) in image::PROGRAMS {
        cargo.args(["--package", package, "--bin", name]);
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

/// Boots one kernel and runs the checks on it. The programs of the checks must have been built.
///
/// # Errors
/// Returns an error if the kernel cannot be booted or the machine does not end.
pub(crate) fn check(workspace: &Workspace, kernel: &Kernel, only: Option<&str>) -> Result<Outcome> {
    // The folder is beside the programs and not in the user's cache, because two checkouts may run the checks at the
    // same time.
    let folder = workspace.bin_dir().join("kernels");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let initramfs = image::initramfs(workspace, kernel, &folder).context("no initramfs")?;
    let finished = boot::boot(kernel, &initramfs, &folder, only)?;
    Ok(Outcome::read(kernel.version, &finished))
}
