//! Figures, printed at the end, so that a check that barely passes is visible.

use std::sync::{Mutex, PoisonError};

static MEASURED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records a figure and its name.
pub(super) fn measured(what: &str, figure: impl std::fmt::Display) {
    let line = format!("measured: {what}: {figure}");
    MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line);
}

/// Prints the recorded figures, in a form that `cargo xtask kernels` parses.
pub(super) fn print() {
    for line in MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        println!("{line}");
    }
}
