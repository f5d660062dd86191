//! Where the programs are that take part.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// One of ours: beside this program, where cargo puts all of a workspace.
///
/// # Errors
/// It is not built.
pub(super) fn ours(name: &str) -> Result<PathBuf> {
    let program = env::current_exe()
        .context("no path of this program")?
        .with_file_name(name);
    if !program.is_file() {
        bail!("{}: not built", program.display());
    }
    Ok(program)
}

/// One of others, from the `PATH` or the `sbin` folders: nginx lives there, and not every root has
/// them on the `PATH`.
pub(super) fn others(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).to_owned()));
    let mut command = Command::new(name);
    // std looks a program up in the child's own PATH where one is set.
    if let Ok(path) = env::join_paths(folders) {
        command.env("PATH", path);
    }
    command
}
