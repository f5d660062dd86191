//! Figures, printed at the end: a check that passes by a hair should be seen to.

use std::sync::{Mutex, PoisonError};

static MEASURED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a figure, and what it is of.
pub(super) fn measured(what: &str, figure: impl std::fmt::Display) {
    let line = format!("measured: {what}: {figure}");
    MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line);
}

/// Prints what has been kept, in a form that `cargo xtask kernels` reads.
pub(super) fn print() {
    for line in MEASURED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
    {
        println!("{line}");
    }
}
