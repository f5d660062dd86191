//! Errors in settings, one line each.
//!
//! A [`Problem`] names the key, the value and the allowed values. If Knative has a message for the same error, its
//! wording is kept, because people search for it. All problems of an object are collected ([`Problems`]), so that one
//! run of `ebb lint`, or one Event, is enough to correct all of them.

use std::fmt;

/// One error in one setting, displayed as `KEY: what is wrong and what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {fault}")]
pub struct Problem {
    /// The full key as the user wrote it, e.g. `autoscaling.knative.dev/minScale`.
    pub key: String,
    /// The error in the value of the key, or in the key itself.
    pub fault: Fault,
}

/// The error in a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text cannot be parsed as a value of the key.
    #[error("invalid value {value:?}: must be {allowed}")]
    Invalid {
        /// The value as written.
        value: String,
        /// The values that the key accepts.
        allowed: &'static str,
    },
    /// The value is outside the allowed range.
    #[error("expected {low} <= {value} <= {high}")]
    OutOfRange {
        /// The value as written.
        value: String,
        /// The smallest allowed value.
        low: String,
        /// The largest allowed value.
        high: String,
    },
    /// The value is a duration with a fraction of a second, but only whole seconds are allowed.
    #[error("{value} must be specified with at most second precision")]
    NotWholeSeconds {
        /// The value as written.
        value: String,
    },
    /// The value contradicts another setting, or a rule that is not a simple range.
    #[error("{0}")]
    Conflict(String),
    /// The key is unknown.
    #[error("unknown key (value {value:?}){}", suggest(.nearest.as_deref()))]
    Unknown {
        /// The value as written.
        value: String,
        /// The most similar known key, if one is similar enough.
        nearest: Option<String>,
    },
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}

/// All problems of one object, in the order in which they were found; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Returns `Ok(value)` if there are no problems, otherwise all of them.
    pub(crate) fn none_or<T>(found: Vec<Problem>, value: T) -> Result<T, Self> {
        if found.is_empty() {
            Ok(value)
        } else {
            Err(Self(found))
        }
    }

    /// Returns an iterator over the problems.
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
    /// Writes all problems on one line, joined by `; `, for logs and one-line errors. To get one line for each problem,
    /// use [`Problems::iter`].
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
