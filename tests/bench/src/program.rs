//! Finds the programs that take part.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// One of our own programs: next to this program, where cargo puts all programs of a workspace.
///
/// # Errors
/// If the program is not built.
pub(super) fn ours(name: &str) -> Result<PathBuf> {
    let program = env::current_exe()
        .context("no path of this program")?
        .with_file_name(name);
    if !program.is_file() {
        bail!("{}: not built", program.display());
    }
    Ok(program)
}

/// A third-party program, from the `PATH` or the `sbin` folders: nginx is installed there, and not every root has them on
/// the `PATH`.
pub(super) fn others(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_owned()));
    let mut command = Command::new(name);
    // std looks up a program in the child's `PATH` if the command sets one.
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}
