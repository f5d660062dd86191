//! Values of options that several commands take. A value that cannot be used says what can.

use std::time::Duration;

use ebb_autoscaler_core::{GoDuration, annotations};

/// A duration as the annotations have them: Go's form, such as `30s` or `1m30s`; not negative.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration
        .unsigned()
        .ok_or_else(|| "must not be negative".to_owned())
}

/// An annotation, `KEY=VALUE`, that somebody reads.
pub(crate) fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    // The decision code passes over other groups' keys; on a command line that would be a slip unnoticed.
    if annotations::is_read(key) {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err(format!(
            "nobody reads {key:?}: expected autoscaling.knative.dev/…, ebb.dev/… or serving.knative.dev/progress-deadline"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_and_no_sign() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("60").unwrap_err().contains("unit"));
        assert_eq!(duration("-1s").unwrap_err(), "must not be negative");
    }

    #[test]
    fn annotations_nobody_reads_are_refused() {
        assert!(annotation("autoscaling.knative.dev/target=10").is_ok());
        assert!(annotation("ebb.dev/burst-window=0").is_ok());
        assert!(annotation("target=10").is_err());
        assert!(annotation("autoscaling.knative.dev/target").is_err());
    }
}
