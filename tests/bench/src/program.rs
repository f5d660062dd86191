//! Finds the programs of this workspace.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Returns the path of a program of this workspace. It is next to this program, because cargo puts all programs of a
/// workspace in one folder.
///
/// # Errors
/// If the program has not been built.
pub(super) fn ours(name: &str) -> Result<PathBuf> {
    let program = ebb_fixtures::program(name);
    if !program.is_file() {
        bail!("{}: not built", program.display());
    }
    Ok(program)
}
