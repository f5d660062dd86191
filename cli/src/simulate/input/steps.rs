//! Reads steps: each row is the input of the autoscaler for one decision.
//!
//! `-` means unknown: ready pods that could not be counted, or averages without data.

use std::time::Duration;

use ebb_autoscaler_core::{Averages, window::LARGEST};

use super::{
    Fault, InputError, Source, boolean, invalid, number,
    table::{self, Columns, Row},
    time,
};

const COLUMNS: Columns = Columns {
    required: &["t", "ready", "stable", "panic"],
    optional: &["reachable", "replicas", "proxied_for", "activator_answers"],
};

const UNKNOWN: &str = "-";

/// One row: the input for one decision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::simulate) struct Step {
    /// Time of the decision, in seconds; the origin is arbitrary.
    pub(in crate::simulate) t: f64,
    /// Ready pods, if known.
    pub(in crate::simulate) ready: Option<u32>,
    /// The averages over the stable and the panic window; `None` if there is no data.
    pub(in crate::simulate) averages: Option<Averages>,
    /// Whether traffic is routed to the workload; `None` if the row does not contain it.
    pub(in crate::simulate) reachable: Option<bool>,
    /// Requested replicas; `None` if the row does not contain it.
    pub(in crate::simulate) replicas: Option<u32>,
    /// How long the activator has been in the request path. The outer `None` means that the row does not contain it;
    /// the inner `None` means that the activator is not in the request path.
    pub(in crate::simulate) proxied_for: Option<Option<Duration>>,
    /// Whether the activator answers a probe of the workload's address. The outer `None` means that the row does not
    /// contain it; the inner `None` means that the activator was not probed.
    pub(in crate::simulate) activator_answers: Option<Option<bool>>,
}

/// At least one step, in order of time. Steps may have the same time.
#[derive(Debug, PartialEq)]
pub(in crate::simulate) struct Steps(pub(in crate::simulate) Vec<Step>);

impl Steps {
    /// Reads steps from CSV.
    pub(in crate::simulate) fn read(source: &Source) -> Result<Steps, InputError> {
        table::read(source, &COLUMNS, |row, steps: &mut Vec<Step>| {
            let step = step(row)?;
            // Several decisions may have the same time.
            if let Some(last) = steps.last()
                && step.t < last.t
            {
                return Err(Fault::Order {
                    t: step.t,
                    before: last.t,
                });
            }
            steps.push(step);
            Ok(())
        })
        .map(Steps)
    }
}

fn step(row: &Row<'_>) -> Result<Step, Fault> {
    Ok(Step {
        t: time("t", row.text("t"))?,
        ready: known(row.text("ready"))
            .map(|text| pods("ready", text))
            .transpose()?,
        averages: averages(row.text("stable"), row.text("panic"))?,
        reachable: row
            .get("reachable")
            .map(|text| boolean("reachable", text))
            .transpose()?,
        replicas: row
            .get("replicas")
            .map(|text| pods("replicas", text))
            .transpose()?,
        proxied_for: row
            .get("proxied_for")
            .map(|text| {
                known(text)
                    .map(|text| time("proxied_for", text).map(Duration::from_secs_f64))
                    .transpose()
            })
            .transpose()?,
        activator_answers: row
            .get("activator_answers")
            .map(|text| {
                known(text)
                    .map(|text| boolean("activator_answers", text))
                    .transpose()
            })
            .transpose()?,
    })
}

fn known(text: &str) -> Option<&str> {
    (text != UNKNOWN).then_some(text)
}

/// Parses both averages. Returns `None` if both are `-`; one `-` alone is an error, because the windows have data at
/// the same time.
fn averages(stable: &str, panic: &str) -> Result<Option<Averages>, Fault> {
    const ALLOWED: &str = "a number from 0 to 1e12, or - in both stable and panic";
    if known(stable).or(known(panic)).is_none() {
        return Ok(None);
    }
    Ok(Some(Averages {
        stable: number("stable", stable, LARGEST, ALLOWED)?,
        panic: number("panic", panic, LARGEST, ALLOWED)?,
    }))
}

fn pods(column: &'static str, text: &str) -> Result<u32, Fault> {
    text.parse()
        .ok()
        // Kubernetes stores replicas in a signed 32-bit field.
        .filter(|pods| i32::try_from(*pods).is_ok())
        .ok_or_else(|| invalid(column, text, "a whole number from 0 to 2147483647"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Result<Vec<Step>, String> {
        Steps::read(&Source::of(text))
            .map(|steps| steps.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_step_is_a_row() {
        let steps = steps("0,1,5,6\n0,2,5.5,6\n0.25,2,5,6\n").unwrap();
        assert_eq!(steps.len(), 3);
        assert_eq!(steps[1].ready, Some(2));
        assert_eq!(steps[1].averages.unwrap().stable, 5.5);
        assert_eq!(steps[2].reachable, None);
    }

    #[test]
    fn a_dash_is_not_known() {
        let text = "t,ready,stable,panic,reachable,replicas,proxied_for,activator_answers\n0,-,-,-,false,3,-,-\n1,0,0,0,1,3,59,false\n";
        let steps = steps(text).unwrap();
        assert_eq!((steps[0].ready, steps[0].averages), (None, None));
        assert_eq!(
            (steps[0].proxied_for, steps[0].activator_answers),
            (Some(None), Some(None))
        );
        assert_eq!(steps[1].proxied_for, Some(Some(Duration::from_secs(59))));
        assert_eq!(steps[1].activator_answers, Some(Some(false)));
    }

    #[test]
    fn a_bad_row_is_named() {
        for (rows, part) in [
            (
                "0,1,1,1\n1,-1,1,1\n",
                "row 2 (line 3): ready: invalid value \"-1\"",
            ),
            ("0,1.5,1,1\n", "ready: invalid value \"1.5\""),
            ("0,4294967295,1,1\n", "ready"),
            ("0,1,-,1\n", "stable: invalid value \"-\""),
            ("0,1,1,NaN\n", "panic: invalid value \"NaN\""),
            ("0,,1,1\n", "ready: invalid value \"\""),
            ("2,1,1,1\n1,1,1,1\n", "row 2 (line 3): t=1: out of order"),
        ] {
            let error = steps(&format!("t,ready,stable,panic\n{rows}")).unwrap_err();
            assert!(error.contains(part), "{rows:?}: {error}");
        }
    }
}
