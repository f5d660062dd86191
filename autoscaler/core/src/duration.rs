//! Durations as Go writes them: `1h30m`, `1.5s`, `250ms`, `0`.
//!
//! Settings are shared with Knative, so the accepted grammar is that of Go's `time.ParseDuration`
//! (<https://pkg.go.dev/time#ParseDuration>), and the written format is that of Go's `Duration.String`.
//!
//! Bias: a number without a unit is refused, as in Go, because nobody knows whether `60` means seconds. Failure mode: a
//! duration beyond ±292 years, the range of Go's 64-bit nanoseconds, is refused.

use std::{fmt, str::FromStr, time::Duration};

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A signed duration of whole nanoseconds.
///
/// The duration is signed, so that `-5s` can be reported as out of range rather than as unreadable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// The text is not a duration in Go's grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration with a unit, such as 90s, 1m30s or 250ms")]
pub struct NotADuration;

impl GoDuration {
    /// Creates a duration of `seconds`; the longest possible duration if this overflows.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// Returns the duration in nanoseconds, signed.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Returns whether the duration is a whole number of seconds.
    pub const fn is_whole_seconds(self) -> bool {
        self.0 % SECOND == 0
    }

    /// Converts to [`Duration`], which is unsigned; `None` if the duration is negative.
    pub fn unsigned(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl FromStr for GoDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(NotADuration);
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (nanos, after) = term(rest)?;
            total = total.checked_add(nanos).ok_or(NotADuration)?;
            rest = after;
        }
        let total = if negative { -total } else { total };
        i64::try_from(total).map(Self).map_err(|_| NotADuration)
    }
}

/// Parses one number and its unit at the start of `text`. Returns (value in nanoseconds, truncated as in Go; rest of
/// the text).
fn term(text: &str) -> Result<(i128, &str), NotADuration> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(NotADuration);
    }
    let end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = i128::from(match unit {
        "ns" => 1,
        // Like Go, accepts both code points that look like a micro sign.
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => return Err(NotADuration),
    });
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        i64::from_str(whole).map_err(|_| NotADuration)?.into()
    };
    // At most 18 digits of the fraction are read: further digits stand for less than a nanosecond, and with 18 digits
    // the multiplication by `unit` cannot overflow 128 bits.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction.len() {
        0 => 0,
        length => {
            let scale = (0..length).fold(1_i128, |scale, _| scale * 10);
            i128::from(i64::from_str(fraction).map_err(|_| NotADuration)?) * unit / scale
        }
    };
    Ok((whole * unit + part, rest))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        let [microsecond, millisecond, second, minute, hour] =
            [MICROSECOND, MILLISECOND, SECOND, MINUTE, HOUR].map(i64::unsigned_abs);
        if nanos < microsecond {
            return write!(f, "{nanos}ns");
        }
        if nanos < millisecond {
            return write!(f, "{}\u{b5}s", decimal(nanos, microsecond));
        }
        if nanos < second {
            return write!(f, "{}ms", decimal(nanos, millisecond));
        }
        let (hours, minutes) = (nanos / hour, nanos % hour / minute);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(nanos % minute, second))
    }
}

/// Returns `value / unit` in decimal without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<i64> {
        text.parse::<GoDuration>().ok().map(GoDuration::nanos)
    }

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("60s", 60 * SECOND),
            ("1h0m0s", HOUR),
            ("1h30m", 90 * MINUTE),
            ("1.5h", 90 * MINUTE),
            (".5s", SECOND / 2),
            ("5.s", 5 * SECOND),
            ("-2m", -2 * MINUTE),
            ("61984ms", 61_984 * MILLISECOND),
            ("1\u{b5}s1\u{3bc}s1us", 3 * MICROSECOND),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", i64::MAX),
        ] {
            assert_eq!(parse(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "60",
            "-",
            "+",
            ".",
            "s",
            "1",
            "1x",
            "1 s",
            " 1s",
            "1s ",
            "--1s",
            "1..5s",
            "3000000h",
            "\u{ff11}s",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (nanos, text) in [
            (0, "0s"),
            (HOUR, "1h0m0s"),
            (6 * SECOND, "6s"),
            (90 * SECOND, "1m30s"),
            (1_500 * MILLISECOND, "1.5s"),
            (250 * MILLISECOND, "250ms"),
            (1_100, "1.1\u{b5}s"),
            (7, "7ns"),
            (-HOUR - SECOND / 10, "-1h0m0.1s"),
        ] {
            assert_eq!(GoDuration(nanos).to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in proptest::num::i64::ANY) {
            let duration = GoDuration(nanos);
            // Go cannot parse its own output for the one value whose magnitude does not fit into an `i64`.
            if nanos != i64::MIN {
                proptest::prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
