//! The query parameters of a request.
//!
//! Bias: strict. An unknown key or a value out of range is an error, because a test whose `slep=200` is silently ignored
//! tests nothing.

use std::time::Duration;

use hyper::StatusCode;

/// The response that a query requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// CPU time to use before the response header is sent.
    pub(super) burn: Duration,
    /// Time to sleep before the response header is sent.
    pub(super) sleep: Duration,
    /// Length of the body.
    pub(super) bytes: u64,
    pub(super) status: StatusCode,
    /// Omit the length from the header: chunked for HTTP/1.1, until close for HTTP/1.0.
    pub(super) chunked: bool,
    /// Pause between the pieces of the body.
    pub(super) drip: Duration,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            burn: Duration::ZERO,
            sleep: Duration::ZERO,
            bytes: 3,
            status: StatusCode::OK,
            chunked: false,
            drip: Duration::ZERO,
        }
    }
}

impl Ask {
    /// Parses the query part of a URI (without its `?`).
    ///
    /// # Errors
    /// If the query is invalid: one line that names the key, the value and the allowed values.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut ask = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = value.parse::<u64>();
            let wrong = |allowed: &str| format!("{key}={value:?}: must be {allowed}\n");
            match key {
                "burn" => ask.burn = milliseconds(number).ok_or_else(|| wrong(MILLISECONDS))?,
                "sleep" => ask.sleep = milliseconds(number).ok_or_else(|| wrong(MILLISECONDS))?,
                "drip" => ask.drip = milliseconds(number).ok_or_else(|| wrong(MILLISECONDS))?,
                "bytes" => ask.bytes = number.map_err(|_| wrong("a number of bytes"))?,
                "chunked" => {
                    ask.chunked = match value {
                        "0" => false,
                        "1" => true,
                        _ => return Err(wrong("0 or 1")),
                    }
                }
                "status" => {
                    ask.status = StatusCode::from_bytes(value.as_bytes())
                        .ok()
                        .filter(|status| (200..=599).contains(&status.as_u16()))
                        .ok_or_else(|| wrong("a final status, 200 to 599"))?;
                }
                _ => {
                    return Err(format!(
                        "{key}: unknown; known are burn, sleep, bytes, status, chunked and drip\n"
                    ));
                }
            }
        }
        Ok(ask)
    }
}

/// Ten minutes: longer than any test, short enough that a wrong unit is noticed.
const MOST_MILLISECONDS: u64 = 600_000;
const MILLISECONDS: &str = "milliseconds, 0 to 600000";

fn milliseconds(number: Result<u64, std::num::ParseIntError>) -> Option<Duration> {
    number
        .ok()
        .filter(|ms| *ms <= MOST_MILLISECONDS)
        .map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let ask = Ask::parse("burn=1&sleep=100&bytes=5&status=404&chunked=1&drip=2").unwrap();
        assert_eq!(
            ask,
            Ask {
                burn: Duration::from_millis(1),
                sleep: Duration::from_millis(100),
                bytes: 5,
                status: StatusCode::NOT_FOUND,
                chunked: true,
                drip: Duration::from_millis(2),
            }
        );
        assert_eq!(Ask::parse("").unwrap(), Ask::default());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for query in [
            "slep=1",
            "sleep=x",
            "sleep=600001",
            "status=101",
            "status=99",
            "chunked=yes",
            "bytes=-1",
        ] {
            assert!(Ask::parse(query).is_err(), "{query}");
        }
    }
}
