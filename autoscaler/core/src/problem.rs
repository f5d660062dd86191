//! What is wrong with a setting, in one line.
//!
//! A [`Problem`] names the key, the value and what is allowed; where Knative has a message for the
//! same mistake, its wording is kept, because people search for it. All problems of an object are
//! collected ([`Problems`]), so that one run of `ebb lint`, or one Event, is enough to
//! mend it.

use std::fmt;

/// One thing wrong with one setting: displayed as `KEY: what is wrong and what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct Problem {
    /// The full key as the user wrote it, e.g. `autoscaling.knative.dev/minScale`.
    pub key: String,
    /// What is wrong with its value.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It cannot be read as what the key wants.
    #[error("invalid value {value:?}: must be {allowed}")]
    Invalid {
        /// The value as written.
        value: String,
        /// What the key takes.
        allowed: &'static str,
    },
    /// It was read, and lies outside what is allowed.
    #[error("expected {low} <= {value} <= {high}")]
    OutOfRange {
        /// The value as written.
        value: String,
        /// The least value allowed.
        low: String,
        /// The greatest value allowed.
        high: String,
    },
    /// It is a duration with a fraction of a second where none can be used.
    #[error("{value} must be specified with at most second precision")]
    NotWholeSeconds {
        /// The value as written.
        value: String,
    },
    /// It contradicts another setting, or a rule that is no plain range.
    #[error("{0}")]
    Conflict(String),
    /// Nobody reads this key.
    #[error("unknown key (value {value:?}){}", suggest(.nearest.as_deref()))]
    Unknown {
        /// The value as written.
        value: String,
        /// The known key nearest in spelling, if one is near.
        nearest: Option<String>,
    },
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}

/// All problems of one object, in the order in which they were found; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok(value)` when nothing was found wrong, all that was found otherwise.
    pub(crate) fn none_or<T>(found: Vec<Problem>, value: T) -> Result<T, Self> {
        if found.is_empty() {
            Ok(value)
        } else {
            Err(Self(found))
        }
    }

    /// The problems one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    /// All on one line, joined by `; `: for logs and one-line errors. Iterate for one line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
