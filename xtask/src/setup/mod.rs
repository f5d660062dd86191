//! `cargo xtask setup`: installs the tools and packages that this machine lacks, and reports them.
//!
//! Installed programs stay unchanged, so a second run takes well under a second. Tools are kept in the user's cache,
//! outside the checkout; packages come from the distribution.

mod apt;
mod kernel;
mod tools;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context as _, Result};

use crate::{exec, root::Root, say};

/// Install what this machine lacks to build Ebb
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also the servers and load generators that the integration tests use
    #[arg(long)]
    tests: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    toolchain()?;
    if args.tests {
        test_tools()?;
    }
    say::done("everything is set up", start.elapsed());
    Ok(ExitCode::SUCCESS)
}

/// Makes sure that the kernel programs can be built.
pub(crate) fn toolchain() -> Result<()> {
    if let Ok(found) = ebb_ebpf_build::find() {
        say::note(&format!("kernel programs are built with {found}"));
        return Ok(());
    }
    say::note("the compiler for the kernel programs is not complete yet");
    let compiler = kernel::compiler();
    let mut packages: Vec<&str> = Vec::new();
    if !compiler.is_there {
        packages.extend(kernel::COMPILER_PACKAGES);
    }
    if ebb_ebpf_build::linker().is_none() {
        packages.extend(kernel::LINKER_PACKAGES);
    }
    install(
        &packages,
        "install packages for the kernel programs' compiler",
    )
    .context(kernel::BY_HAND)?;
    if ebb_ebpf_build::linker().is_none() {
        kernel::install_linker()?;
    }
    let found = ebb_ebpf_build::find()
        .map_err(|missing| anyhow::anyhow!("setup failed: {missing}; {}", kernel::BY_HAND))?;
    say::note(&format!("kernel programs are built with {found}"));
    Ok(())
}

/// Makes sure that the programs of the integration tests are installed.
pub(crate) fn test_tools() -> Result<()> {
    let packages = tools::missing_packages();
    install(
        &packages,
        "install the servers and load generators of the tests",
    )?;
    tools::npm_packages()
}

/// Makes sure that other kernels can be fetched and booted.
pub(crate) fn kernel_tools() -> Result<()> {
    install(
        &tools::missing_for_kernels(),
        "install the emulator that other kernels are booted with",
    )
}

/// Makes sure that the C++ compiler that builds libFuzzer is installed.
pub(crate) fn fuzz_tools() -> Result<()> {
    if exec::which("c++").is_some() {
        return Ok(());
    }
    install(
        &["g++"],
        "install a C++ compiler, which is required to build libFuzzer",
    )
}

/// Installs those of `packages` that are missing. Root is requested only if a package is missing.
fn install(packages: &[&str], reason: &str) -> Result<()> {
    let packages: Vec<_> = packages
        .iter()
        .copied()
        .filter(|name| !apt::is_installed(name))
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(&packages, &|| Root::ask(reason))
}

/// Returns the path of an installation's log.
fn log(name: &str) -> PathBuf {
    exec::log(&format!("setup-{name}"))
}
