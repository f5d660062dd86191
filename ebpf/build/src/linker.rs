//! The linker for the BPF target, bpf-linker.
//!
//! The LLVM of bpf-linker must be at least as new as that of the compiler: an older LLVM cannot read newer bitcode.

use std::{
    env, iter,
    path::{Path, PathBuf},
    process::Command,
};

use crate::compiler::output;

/// The release of bpf-linker that `cargo xtask setup` installs.
pub const LINKER_VERSION: &str = "0.13.0";

/// Major version of the LLVM that bpf-linker [`LINKER_VERSION`] is built with: the newest LLVM that Debian 12 packages.
pub const LINKER_LLVM: u32 = 22;

/// Returns the folder for tools and downloads, outside the checkout: `$EBB_CACHE`, else `$XDG_CACHE_HOME/ebb`, else
/// `~/.cache/ebb`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(dir) = set("EBB_CACHE") {
        return dir.into();
    }
    if let Some(dir) = set("XDG_CACHE_HOME") {
        return PathBuf::from(dir).join("ebb");
    }
    // Without a home folder (as in some containers), the temporary folder is better than the checkout.
    let home = set("HOME").map_or_else(env::temp_dir, PathBuf::from);
    home.join(".cache").join("ebb")
}

/// An executable of bpf-linker.
#[derive(Clone, Debug)]
pub struct Linker {
    /// Path of the executable.
    pub path: PathBuf,
    /// Major version of the LLVM that the linker was built with; `None` (not known) if Ebb did not install the linker.
    pub llvm: Option<u32>,
}

impl Linker {
    /// Returns the linker that `cargo xtask setup` installs, whether or not it is installed yet.
    #[must_use]
    pub fn ours() -> Self {
        Self {
            path: cache_dir().join("tools/bin/bpf-linker"),
            llvm: Some(LINKER_LLVM),
        }
    }
}

/// Returns the linker that `cargo xtask setup` installed, else the first one on `PATH`.
///
/// A linker that does not start is skipped: a cache may have been copied to a machine that lacks the linker's LLVM.
#[must_use]
pub fn linker() -> Option<Linker> {
    let path = env::var_os("PATH").unwrap_or_default();
    let others = env::split_paths(&path).map(|dir| Linker {
        path: dir.join("bpf-linker"),
        llvm: None,
    });
    let starts = |path: &Path| output(Command::new(path).arg("--version")).is_some();
    iter::once(Linker::ours())
        .chain(others)
        .find(|linker| linker.path.is_file() && starts(&linker.path))
}
