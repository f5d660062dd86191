//! The compiler and the linker for the kernel programs.
//!
//! rustup is tried first, for it needs no root; where it has no nightly to give, the distribution's
//! compiler is next. `ebb-ebpf-build` decides what is good enough, here it is only fetched.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;
use ebb_ebpf_build::{LINKER_LLVM, LINKER_VERSION, Linker, Origin};

use crate::{cargo, exec, say, setup::log};

/// A nightly whose LLVM is the linker's, and that compiles the aya of this workspace.
const NIGHTLY: &str = "nightly-2026-05-20";

/// Debian 12's newest compiler and its library sources (made for its browsers, hence the names).
pub(super) const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// What building bpf-linker takes. It links LLVM as a shared library, so nothing that LLVM itself
/// links is needed.
pub(super) const LINKER_PACKAGES: [&str; 1] = ["llvm-22-dev"];

/// Where Debian puts that LLVM. Without it, the linker's build picks a wrong library folder.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Five minutes: a compiler is some 100 MB, and one that does not come can be had elsewhere.
const RUSTUP_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Half an hour for a build that takes 45 s on two cores.
const LINKER_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What to do where there is neither rustup's nor Debian's way.
pub(super) const BY_HAND: &str = "to set this machine up by hand, put a bpf-linker on PATH \
    (https://github.com/aya-rs/bpf-linker) and run `rustup toolchain install nightly --component rust-src`";

/// Whether a compiler is there after all that could be done without root.
pub(super) struct Compiler {
    pub(super) is_there: bool,
}

/// Gets a compiler by rustup, if there is none and rustup can.
pub(super) fn compiler() -> Compiler {
    let chosen = std::env::var_os("EBB_BPF_TOOLCHAIN").is_some();
    if !is_usable()
        && !chosen
        && exec::which("rustup").is_some()
        && let Err(error) = by_rustup()
    {
        say::note(&format!(
            "{error:#}: going on with the distribution's packages"
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

/// Completes a nightly that only lacks the sources, else installs one.
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

/// Builds bpf-linker into the cache.
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
    // It is not part of this workspace's build.
    cargo.env_remove("CARGO_TARGET_DIR");
    let what = format!("building bpf-linker {LINKER_VERSION} (about a minute)");
    exec::watched(&what, &mut cargo, &log("bpf-linker"), LINKER_LIMIT)
}
