//! Reads traces: a trace is the traffic of a workload, second by second.
//!
//! Each second must have a row, but the times of rows may differ from whole seconds, because the clock of a recorder
//! jitters. Bias: a missing second is an error; it does not mean a second without traffic.

use ebb_autoscaler_core::window::LARGEST;

use super::{
    Fault, InputError, Source, boolean, number,
    table::{self, Columns},
    time, watch,
};

const COLUMNS: Columns = Columns {
    required: &["t", "concurrency"],
    optional: &["rps", "reachable"],
};

/// Allowed difference between one second and the time between two rows, in seconds. With more than half a second, it
/// would be ambiguous to which second a row belongs.
const JITTER: f64 = 0.5;

/// Longest gap that is filled, in seconds: the length of the longest window. After a longer gap, the rows are treated
/// as a different recording, so the gap is an error.
const LONGEST_GAP: f64 = 3600.0;

/// The traffic in the second that ends at `t`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::simulate) struct Second {
    /// The end of the second, in seconds; the origin is arbitrary.
    pub(in crate::simulate) t: f64,
    /// Mean number of requests in flight during the second.
    pub(in crate::simulate) concurrency: f64,
    /// Requests started per second; `None` if the trace does not contain them.
    pub(in crate::simulate) rps: Option<f64>,
    /// Whether traffic is routed to the workload; `None` if the trace does not contain it.
    pub(in crate::simulate) reachable: Option<bool>,
}

/// A recording, at least one second long.
#[derive(Debug, PartialEq)]
pub(in crate::simulate) struct Trace {
    /// The seconds, in order and without gaps.
    pub(in crate::simulate) seconds: Vec<Second>,
    /// How many of `seconds` were missing in the file and have been filled.
    pub(in crate::simulate) filled: usize,
}

impl Trace {
    /// Reads CSV, or the lines of `ebb watch --json`.
    ///
    /// If `fill` is set, missing seconds are filled with copies of the second before the gap.
    pub(in crate::simulate) fn read(source: &Source, fill: bool) -> Result<Trace, InputError> {
        let mut filled = 0;
        let mut take = |second: Second, seconds: &mut Vec<Second>| {
            filled += follow(seconds, &second, fill)?;
            seconds.push(second);
            Ok(())
        };
        let seconds = if watch::is_json(&source.bytes) {
            watch::read(source, take)?
        } else {
            table::read(source, &COLUMNS, |row, seconds| {
                let load = |column, text| number(column, text, LARGEST, "a number from 0 to 1e12");
                let second = Second {
                    t: time("t", row.text("t"))?,
                    concurrency: load("concurrency", row.text("concurrency"))?,
                    rps: row.get("rps").map(|text| load("rps", text)).transpose()?,
                    reachable: row
                        .get("reachable")
                        .map(|text| boolean("reachable", text))
                        .transpose()?,
                };
                take(second, seconds)
            })?
        };
        Ok(Trace { seconds, filled })
    }
}

/// Checks that `next` follows the last of `seconds`. Fills a gap if `fill` is set. Returns the number of filled
/// seconds.
fn follow(seconds: &mut Vec<Second>, next: &Second, fill: bool) -> Result<usize, Fault> {
    let Some(&last) = seconds.last() else {
        return Ok(0);
    };
    let (t, before) = (next.t, last.t);
    let apart = t - before;
    if apart <= 0.0 {
        return Err(Fault::Order { t, before });
    }
    if apart < 1.0 - JITTER {
        return Err(Fault::Close { t, apart });
    }
    let gap = |remedy| Fault::Gap { t, before, remedy };
    match apart {
        apart if apart <= 1.0 + JITTER => Ok(0),
        _ if !fill => Err(gap("--fill-gaps repeats the row before the gap")),
        apart if apart > LONGEST_GAP => Err(gap("--fill-gaps fills at most 3600 s")),
        apart => {
            let missing = (apart - JITTER) as usize;
            seconds.extend((1..=missing).map(|number| Second {
                t: before + number as f64,
                ..last
            }));
            Ok(missing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(text: &str, fill: bool) -> Result<Trace, String> {
        Trace::read(&Source::of(text), fill).map_err(|error| error.to_string())
    }

    #[test]
    fn a_second_is_a_row() {
        let trace = trace("t,concurrency,rps\n0,1.5,3\n1,2,4\n", false).unwrap();
        assert_eq!(trace.seconds.len(), 2);
        assert_eq!(trace.seconds[1].rps, Some(4.0));
        assert_eq!(trace.filled, 0);
    }

    #[test]
    fn a_clock_may_jitter() {
        let trace = trace("t,concurrency\n10.1,1\n11.4,1\n12.05,1\n", false).unwrap();
        assert_eq!(trace.seconds.len(), 3);
    }

    #[test]
    fn a_bad_row_is_named() {
        for (rows, part) in [
            (
                "0,1\n1,NaN\n",
                "row 2 (line 3): concurrency: invalid value \"NaN\"",
            ),
            (
                "0,1\n1,-1\n",
                "row 2 (line 3): concurrency: invalid value \"-1\"",
            ),
            ("0,1\n1,inf\n", "row 2"),
            ("0,1\n1,1e300\n", "row 2"),
            (
                "0,1\n1,\n",
                "row 2 (line 3): concurrency: invalid value \"\"",
            ),
            ("0,1\nx,1\n", "row 2 (line 3): t: invalid value \"x\""),
            ("1700000000000,1\n", "row 1 (line 2): t: invalid value"),
            (
                "0,1\n1,1\n3,1\n",
                "row 3 (line 4): t=3: 1 s missing after t=1; --fill-gaps",
            ),
            (
                "5,1\n4,1\n",
                "row 2 (line 3): t=4: out of order, the row before has t=5",
            ),
            ("5,1\n5,1\n", "row 2 (line 3): t=5: out of order"),
            ("5,1\n5.2,1\n", "row 2 (line 3): t=5.2: only 0.200 s after"),
        ] {
            let error = trace(&format!("t,concurrency\n{rows}"), false).unwrap_err();
            assert!(
                error.starts_with("test.csv: ") && error.contains(part),
                "{rows:?}: {error}"
            );
        }
    }

    #[test]
    fn gaps_are_filled_when_asked_for() {
        let filled = trace("t,concurrency\n0,7\n4,1\n", true).unwrap();
        let loads: Vec<_> = filled
            .seconds
            .iter()
            .map(|second| (second.t, second.concurrency))
            .collect();
        assert_eq!(
            loads,
            [(0.0, 7.0), (1.0, 7.0), (2.0, 7.0), (3.0, 7.0), (4.0, 1.0)]
        );
        assert_eq!(filled.filled, 3);
        assert!(
            trace("t,concurrency\n0,7\n9999,1\n", true)
                .unwrap_err()
                .contains("at most 3600 s")
        );
    }
}
