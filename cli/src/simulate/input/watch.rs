//! Reads traces in the form that `ebb watch --json` prints: one object per line.

use serde::Deserialize;

use super::{Fault, InputError, LATEST, Source, TIMES, invalid, trace::Second};
use ebb_autoscaler_core::window::LARGEST;

/// The keys of a line that a trace needs; other keys are ignored.
#[derive(Deserialize)]
struct Line {
    /// End of the interval, Unix time in seconds.
    t: f64,
    /// Length of the interval in seconds.
    interval: f64,
    concurrency: f64,
    /// Requests started in the interval.
    requests: u64,
}

/// Returns whether the content of the file looks like JSON.
pub(super) fn is_json(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

/// Reads the lines of `source` and passes each second to `take`.
pub(super) fn read(
    source: &Source,
    mut take: impl FnMut(Second, &mut Vec<Second>) -> Result<(), Fault>,
) -> Result<Vec<Second>, InputError> {
    let mut seconds = Vec::new();
    let lines = source.bytes.split(|&byte| byte == b'\n').zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    for (row, (line, number)) in lines.enumerate() {
        second(line)
            .and_then(|second| take(second, &mut seconds))
            .map_err(|fault| InputError::Row {
                file: source.name.clone(),
                row: row + 1,
                line: number,
                fault,
            })?;
    }
    Ok(seconds)
}

fn second(line: &[u8]) -> Result<Second, Fault> {
    let line: Line =
        serde_json::from_slice(line).map_err(|error| Fault::Unreadable(error.to_string()))?;
    let within = |column, value: f64, most: f64, allowed| {
        (0.0..=most)
            .contains(&value)
            .then_some(value)
            .ok_or_else(|| invalid(column, &value.to_string(), allowed))
    };
    let concurrency = within(
        "concurrency",
        line.concurrency,
        LARGEST,
        "a number from 0 to 1e12",
    )?;
    let rps = line.requests as f64 / line.interval;
    Ok(Second {
        t: within("t", line.t, LATEST, TIMES)?,
        concurrency,
        rps: Some(within("interval", rps, LARGEST, "more than 0 s")?),
        reachable: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::input::Trace;

    #[test]
    fn what_watch_prints_is_a_trace() {
        let text = "{\"t\":100.25,\"interval\":1.0,\"concurrency\":2.5,\"in_flight\":3,\"requests\":7}\n\
                    {\"t\":101.26,\"interval\":1.01,\"concurrency\":0.0,\"requests\":0,\"status\":{\"2xx\":1}}\n";
        let trace = Trace::read(&Source::of(text), false).unwrap();
        assert_eq!(trace.seconds.len(), 2);
        assert_eq!(
            (trace.seconds[0].concurrency, trace.seconds[0].rps),
            (2.5, Some(7.0))
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for line in [
            "{\"t\":2}",
            "{\"t\":2,\"interval\":0,\"concurrency\":1,\"requests\":1}",
            "nonsense",
        ] {
            let text =
                format!("{{\"t\":1,\"interval\":1,\"concurrency\":1,\"requests\":1}}\n\n{line}\n");
            let error = Trace::read(&Source::of(&text), false)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("test.csv: row 2 (line 3): "), "{error}");
        }
    }
}
