//! Finds the programs that take part.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// One of our own programs: next to this program, where cargo puts all programs of a workspace.
///
/// # Errors
/// If the program is not built.
pub(super) fn ours(name: &str) -> Result<PathBuf> {
    let program = ebb_fixtures::program(name);
    if !program.is_file() {
        bail!("{}: not built", program.display());
    }
    Ok(program)
}
