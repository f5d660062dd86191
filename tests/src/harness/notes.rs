//! Figures that tests measured, printed together at the end: a test that passes by a hair should
//! be seen to.

use std::sync::{Mutex, PoisonError};

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps one line for the end of the test run.
pub fn note(line: impl Into<String>) {
    NOTES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line.into());
}

pub(super) fn print() {
    let notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    if !notes.is_empty() {
        eprintln!("measured:");
        for line in notes.iter() {
            eprintln!("  {line}");
        }
    }
}
