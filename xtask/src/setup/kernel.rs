//! Installs the compiler and the linker for the kernel programs.
//!
//! rustup is tried first, because it needs no root. If it cannot provide a nightly, the distribution's compiler is
//! tried. `ebb-ebpf-build` decides which compiler is usable; this module only installs compilers.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use ebb_ebpf_build::{LINKER_LLVM, LINKER_VERSION, Linker, Origin};

use crate::{cargo, exec, say, setup::log};

/// A nightly compiler with the same LLVM version as the linker. It can compile the version of aya in this workspace.
const NIGHTLY: &str = "nightly-2026-05-20";

/// The packages of Debian 12's newest Rust compiler and its library sources. Debian builds its web browsers with them,
/// hence the names.
pub(super) const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// The package that the build of bpf-linker requires. bpf-linker links LLVM as a shared library, so its build does not
/// need the libraries that LLVM depends on.
pub(super) const LINKER_PACKAGES: [&str; 1] = ["llvm-22-dev"];

/// The folder of LLVM 22 in Debian. If this folder is not given, the build of bpf-linker selects a wrong library
/// folder.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Time limit of rustup, for a compiler of about 100 MB. If rustup fails, the distribution's packages are tried.
const RUSTUP_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Time limit of the build of bpf-linker, which takes 45 s on two cores.
const LINKER_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The instruction for machines on which neither rustup nor Debian's packages work.
pub(super) const BY_HAND: &str = "to set this machine up by hand, put a bpf-linker on PATH \
    (https://github.com/aya-rs/bpf-linker) and run `rustup toolchain install nightly --component rust-src`";

/// The result of the attempts to install a compiler without root: whether a usable compiler exists now.
pub(super) struct Compiler {
    pub(super) is_there: bool,
}

/// Installs a compiler with rustup, if no usable compiler exists yet.
pub(super) fn compiler() -> Compiler {
    let chosen = std::env::var_os("EBB_BPF_TOOLCHAIN").is_some();
    if !is_usable()
        && !chosen
        && exec::which("rustup").is_some()
        && let Err(error) = by_rustup()
    {
        say::note(&format!(
            "{error:#}: continuing with the distribution's packages"
        ));
    }
    Compiler {
        is_there: is_usable(),
    }
}

fn is_usable() -> bool {
    let linker = ebb_ebpf_build::linker().unwrap_or_else(Linker::ours);
    ebb_ebpf_build::compilers()
        .iter()
        .any(|compiler| compiler.objection(Some(&linker)).is_none())
}

/// Adds the library sources to an installed nightly that lacks only these, or otherwise installs [`NIGHTLY`].
fn by_rustup() -> Result<()> {
    let incomplete = ebb_ebpf_build::compilers().into_iter().find(|compiler| {
        !compiler.has_sources && compiler.llvm <= LINKER_LLVM && compiler.is_new_enough()
    });
    let mut rustup = Command::new("rustup");
    let what = match incomplete.map(|compiler| compiler.origin) {
        Some(Origin::Rustup(name)) => {
            rustup.args(["component", "add", "rust-src", "--toolchain", &name]);
            format!("adding rust-src to rustup's {name}")
        }
        _ => {
            rustup.args([
                "toolchain",
                "install",
                NIGHTLY,
                "--profile=minimal",
                "--component=rust-src",
            ]);
            rustup.arg("--no-self-update");
            format!("installing rustup's {NIGHTLY}")
        }
    };
    exec::watched(&what, &mut rustup, &log("rustup"), RUSTUP_LIMIT)
}

/// Builds bpf-linker and installs it into the cache.
pub(super) fn install_linker() -> Result<()> {
    let mut cargo = cargo::cargo();
    cargo.args([
        "install",
        "bpf-linker",
        "--locked",
        "--force",
        "--version",
        LINKER_VERSION,
    ]);
    cargo.args([
        "--no-default-features",
        "--features",
        &format!("llvm-{LINKER_LLVM}"),
    ]);
    cargo
        .arg("--root")
        .arg(ebb_ebpf_build::cache_dir().join("tools"));
    if Path::new(LLVM_PREFIX).is_dir() {
        cargo.env("LLVM_PREFIX", LLVM_PREFIX);
    }
    // bpf-linker must not be built in the target folder of this workspace.
    cargo.env_remove("CARGO_TARGET_DIR");
    let what = format!("building bpf-linker {LINKER_VERSION} (about a minute)");
    exec::watched(&what, &mut cargo, &log("bpf-linker"), LINKER_LIMIT)
}
