//! Parsing of single values, for annotations and for the config map.
//!
//! Bias: an ambiguous value is refused. NaN and infinities, which Knative accepts, are refused here, so that no later
//! arithmetic has to handle them.

use std::time::Duration;

use crate::{duration::GoDuration, problem::Fault};

/// The longest window, delay or retention: one hour, as in Knative (`WindowMax`).
pub(crate) const HOUR: GoDuration = GoDuration::from_secs(3600);

/// Maximum number of pods that can be requested: Kubernetes stores replicas in a signed 32-bit field.
pub(crate) const MAX_PODS: u32 = i32::MAX as u32;

/// Parses a finite number.
pub(crate) fn float(value: &str, allowed: &'static str) -> Result<f64, Fault> {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(Fault::Invalid {
            value: value.to_owned(),
            allowed,
        }),
    }
}

/// Parses a finite number in `low..=high`.
pub(crate) fn float_in(
    value: &str,
    low: f64,
    high: f64,
    allowed: &'static str,
) -> Result<f64, Fault> {
    let number = float(value, allowed)?;
    if (low..=high).contains(&number) {
        Ok(number)
    } else {
        Err(Fault::OutOfRange {
            value: value.to_owned(),
            low: low.to_string(),
            high: high.to_string(),
        })
    }
}

/// Parses a target burst capacity: a finite number ≥ 0, or -1 to keep the activator always in the request path.
pub(crate) fn burst_capacity(value: &str) -> Result<f64, Fault> {
    const ALLOWED: &str = "a number >= 0, or -1 to keep the activator always in the request path";
    match float(value, ALLOWED)? {
        number if number >= 0.0 || number == -1.0 => Ok(number),
        _ => Err(Fault::Invalid {
            value: value.to_owned(),
            allowed: ALLOWED,
        }),
    }
}

/// Parses a whole number of any size; the caller checks its range.
///
/// A value beyond 64 bits becomes the largest or the smallest 64-bit value, so that it is reported as out of range and
/// not as unreadable.
pub(crate) fn integer(value: &str, allowed: &'static str) -> Result<i64, Fault> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    value.parse::<i64>().or_else(|error| match error.kind() {
        PosOverflow => Ok(i64::MAX),
        NegOverflow => Ok(i64::MIN),
        _ => Err(Fault::Invalid {
            value: value.to_owned(),
            allowed,
        }),
    })
}

/// Parses a number of pods: 0 to 2147483647.
pub(crate) fn pods(value: &str) -> Result<u32, Fault> {
    let number = integer(value, "a whole number from 0 to 2147483647")?;
    u32::try_from(number)
        .ok()
        .filter(|&pods| pods <= MAX_PODS)
        .ok_or_else(|| Fault::OutOfRange {
            value: value.to_owned(),
            low: "0".to_owned(),
            high: MAX_PODS.to_string(),
        })
}

/// Parses a duration in `low..=high`.
pub(crate) fn duration_in(
    value: &str,
    low: GoDuration,
    high: GoDuration,
) -> Result<Duration, Fault> {
    const ALLOWED: &str = "a duration with a unit, such as 90s, 1m30s or 250ms";
    let duration: GoDuration = value.parse().map_err(|_| Fault::Invalid {
        value: value.to_owned(),
        allowed: ALLOWED,
    })?;
    match duration.unsigned() {
        Some(length) if (low..=high).contains(&duration) => Ok(length),
        _ => Err(Fault::OutOfRange {
            value: value.to_owned(),
            low: low.to_string(),
            high: high.to_string(),
        }),
    }
}

/// Parses a duration of whole seconds in `low..=high`.
pub(crate) fn seconds_in(
    value: &str,
    low: GoDuration,
    high: GoDuration,
) -> Result<Duration, Fault> {
    let length = duration_in(value, low, high)?;
    if GoDuration::from(length).is_whole_seconds() {
        Ok(length)
    } else {
        Err(Fault::NotWholeSeconds {
            value: value.to_owned(),
        })
    }
}

/// Parses a boolean in any spelling that Go's `strconv.ParseBool` accepts, in upper or lower case.
pub(crate) fn boolean(value: &str) -> Result<bool, Fault> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Ok(true),
        "false" | "f" | "0" => Ok(false),
        _ => Err(Fault::Invalid {
            value: value.to_owned(),
            allowed: "true or false",
        }),
    }
}

/// Parses the length of the burst window: 50 ms to 6 s, or 0 to turn it off.
///
/// A mean over less than 50 ms depends on the chance arrival of a few requests. 6 s is the length of the default panic
/// window; a longer burst window would show nothing that the panic window does not show.
pub(crate) fn burst_window(value: &str) -> Result<Duration, Fault> {
    const LOW: Duration = Duration::from_millis(50);
    let length = duration_in(value, GoDuration::default(), GoDuration::from_secs(6))?;
    if length.is_zero() || length >= LOW {
        Ok(length)
    } else {
        Err(Fault::Conflict(format!(
            "expected 50ms <= {value} <= 6s, or 0 for no burst window"
        )))
    }
}
