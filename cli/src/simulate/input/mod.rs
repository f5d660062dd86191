//! Reads recorded input, traces and steps. The whole input is read and checked before the first decision.
//!
//! Bias: nothing is ignored silently. A row that cannot be read, is out of order or is missing is an error that names
//! the file and the row. An unknown column is an error too, because it may be a misspelt one.

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
    /// Reads the whole file at `path`; `-` is stdin.
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

/// The reason why a file is not valid input.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The name of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file has no rows.
    #[error("{file}: no rows; expected the columns {expected}")]
    Empty {
        /// The name of the file.
        file: String,
        /// The expected columns.
        expected: String,
    },
    /// A column is unknown, missing or given twice.
    #[error("{file}: column {column:?} {what}; expected the columns {expected}")]
    Column {
        /// The name of the file.
        file: String,
        /// The name of the column.
        column: String,
        /// The problem.
        what: &'static str,
        /// The expected columns.
        expected: String,
    },
    /// A row has a problem.
    #[error("{file}: row {row} (line {line}): {fault}")]
    Row {
        /// The name of the file.
        file: String,
        /// The row, counted from 1 without the header.
        row: usize,
        /// The line of the row in the file, counted from 1.
        line: u64,
        /// The problem.
        fault: Fault,
    },
}

/// A problem of one row.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// A value is invalid.
    #[error("{column}: invalid value {value:?}: must be {allowed}")]
    Value {
        /// The name of the column that contains the value.
        column: &'static str,
        /// The value as written.
        value: String,
        /// The values that are valid in this column, as text for the message.
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
    /// The time of the row is not later than the time of the previous row.
    #[error("t={t}: out of order, the row before has t={before}")]
    Order {
        /// Time of the row.
        t: f64,
        /// The time of the previous row.
        before: f64,
    },
    /// The time of the row is too close to the time of the previous row.
    #[error("t={t}: only {apart:.3} s after the row before; rows must be 1 s apart")]
    Close {
        /// Time of the row.
        t: f64,
        /// Seconds between this row and the previous row.
        apart: f64,
    },
    /// Rows are missing between the previous row and this row.
    #[error("t={t}: {:.0} s missing after t={before}; {remedy}", t - before - 1.0)]
    Gap {
        /// Time of the row.
        t: f64,
        /// The time of the previous row.
        before: f64,
        /// A hint for the user: the option that fills the gap, or the longest gap that this option fills.
        remedy: &'static str,
    },
    /// The row is not text, or not JSON.
    #[error("{0}")]
    Unreadable(String),
}

/// The latest valid time, in seconds. As Unix time, it is the year 5138; a later time is probably in milliseconds.
const LATEST: f64 = 1e11;

/// The range of valid values of a time, as text for error messages.
const TIMES: &str = "a number of seconds from 0 to 1e11";

/// Parses a time in seconds.
fn time(column: &'static str, text: &str) -> Result<f64, Fault> {
    number(column, text, LATEST, TIMES)
}

/// Parses a number from 0 to `most`. NaN and infinite values are invalid.
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
