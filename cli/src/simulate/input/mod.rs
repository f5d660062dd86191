//! Recorded input: traces and steps, read and checked as a whole before the first decision.
//!
//! Bias: nothing is accepted silently. A row that cannot be read, is out of order or missing is an error that names the
//! file and the row. An unknown column is an error too, because it may be a misspelt one.

mod steps;
mod table;
mod trace;
mod watch;

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

pub(super) use self::{
    steps::{Step, Steps},
    trace::{Second, Trace},
};

/// A file from the command line.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    bytes: Vec<u8>,
}

impl Source {
    /// Reads all of the file; `-` is stdin.
    pub(super) fn read(path: &Path) -> Result<Source, InputError> {
        let error = |source| InputError::Read {
            path: path.to_owned(),
            source,
        };
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes).map_err(error)?;
            return Ok(Source {
                name: "stdin".to_owned(),
                bytes,
            });
        }
        Ok(Source {
            name: path.display().to_string(),
            bytes: fs::read(path).map_err(error)?,
        })
    }

    #[cfg(test)]
    fn of(text: &str) -> Source {
        Source {
            name: "test.csv".to_owned(),
            bytes: text.as_bytes().to_vec(),
        }
    }
}

/// Why a file is no valid input.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It has no rows.
    #[error("{file}: no rows; expected the columns {expected}")]
    Empty {
        /// The file.
        file: String,
        /// The columns that it should have.
        expected: String,
    },
    /// A column is wrong.
    #[error("{file}: column {column:?} {what}; expected the columns {expected}")]
    Column {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        what: &'static str,
        /// The columns that it should have.
        expected: String,
    },
    /// A row is wrong.
    #[error("{file}: row {row} (line {line}): {fault}")]
    Row {
        /// The file.
        file: String,
        /// The row, counted from 1 without the header.
        row: usize,
        /// Its line in the file, counted from 1.
        line: u64,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a row.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// A value is invalid.
    #[error("{column}: invalid value {value:?}: must be {allowed}")]
    Value {
        /// Its column.
        column: &'static str,
        /// The value as written.
        value: String,
        /// The valid values of the column.
        allowed: &'static str,
    },
    /// The row has more or fewer fields than the header.
    #[error("{found} fields, expected {expected}")]
    Width {
        /// Number of fields in the row.
        found: usize,
        /// Number of fields in the header.
        expected: usize,
    },
    /// The row is not later than the row before it.
    #[error("t={t}: out of order, the row before has t={before}")]
    Order {
        /// Time of the row.
        t: f64,
        /// The time of the row before.
        before: f64,
    },
    /// The row is too close to the row before it.
    #[error("t={t}: only {apart:.3} s after the row before; rows must be 1 s apart")]
    Close {
        /// Time of the row.
        t: f64,
        /// Seconds between the two rows.
        apart: f64,
    },
    /// Rows are missing before this one.
    #[error("t={t}: {:.0} s missing after t={before}; {remedy}", t - before - 1.0)]
    Gap {
        /// Time of the row.
        t: f64,
        /// The time of the row before.
        before: f64,
        /// The remedy.
        remedy: &'static str,
    },
    /// The row is not text, or not JSON.
    #[error("{0}")]
    Unreadable(String),
}

/// The latest time, in seconds; the year 5138. A later time is probably in milliseconds.
const LATEST: f64 = 1e11;

/// The valid times, in words.
const TIMES: &str = "a number of seconds from 0 to 1e11";

/// Parses a time in seconds.
fn time(column: &'static str, text: &str) -> Result<f64, Fault> {
    number(column, text, LATEST, TIMES)
}

/// Parses a number from 0 to `most`; NaN and the infinities are invalid.
fn number(
    column: &'static str,
    text: &str,
    most: f64,
    allowed: &'static str,
) -> Result<f64, Fault> {
    text.parse()
        .ok()
        .filter(|number| (0.0..=most).contains(number))
        .ok_or_else(|| invalid(column, text, allowed))
}

fn boolean(column: &'static str, text: &str) -> Result<bool, Fault> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(invalid(column, text, "true or false")),
    }
}

fn invalid(column: &'static str, value: &str, allowed: &'static str) -> Fault {
    Fault::Value {
        column,
        value: value.to_owned(),
        allowed,
    }
}
