//! Measured values. They are printed at the end of the run, so that a check that passes only just is visible.

use std::sync::{Mutex, PoisonError};

static MEASURED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records a measured value and its name.
pub(super) fn measured(what: &str, figure: impl std::fmt::Display) {
    let line = format!("measured: {what}: {figure}");
    MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line);
}

/// Prints the recorded values, in a format that `cargo xtask kernels` parses.
pub(super) fn print() {
    for line in MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        println!("{line}");
    }
}
