//! Parsers for option values that several commands share. The error for an invalid value names the valid values.

use std::time::Duration;

use ebb_autoscaler_core::{GoDuration, annotations};

/// Parses a non-negative duration in Go's format, as in annotations, such as `30s` or `1m30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration
        .unsigned()
        .ok_or_else(|| "must not be negative".to_owned())
}

/// Parses a TCP port to listen on; 0 means a free port.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| "must be a whole number from 0 to 65535".to_owned())
}

/// Parses a TCP port that a server listens on.
pub(crate) fn served_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port @ 1..) => Ok(port),
        _ => Err("must be a whole number from 1 to 65535".to_owned()),
    }
}

/// Parses an annotation of the form `KEY=VALUE` that Ebb reads.
pub(crate) fn annotation(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    // The decision code ignores annotations that Ebb does not know. On a command line, an unknown annotation is
    // probably a mistake.
    if annotations::is_read(key) {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err(format!(
            "unknown annotation {key:?}: expected autoscaling.knative.dev/…, ebb.dev/… or serving.knative.dev/progress-deadline"
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
    fn ports_say_their_range() {
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
        for bad in ["65536", "-1", "", "http", "80.0"] {
            assert!(port(bad).unwrap_err().contains("0 to 65535"), "{bad}");
        }
        assert_eq!(served_port("80"), Ok(80));
        assert!(served_port("0").unwrap_err().contains("1 to 65535"));
    }

    #[test]
    fn annotations_nobody_reads_are_refused() {
        assert!(annotation("autoscaling.knative.dev/target=10").is_ok());
        assert!(annotation("ebb.dev/burst-window=0").is_ok());
        assert!(annotation("target=10").is_err());
        assert!(annotation("autoscaling.knative.dev/target").is_err());
    }
}
