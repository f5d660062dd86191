//! Tests Knative's behaviour through the `ebb` program. Every row of the case file that the command line of `ebb` can
//! express is one test, named by the row's id and group.
//!
//! Rows that the command line cannot express are listed in `INSIDE` with the reason. A row of an unknown group fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests panic: the backtrace stays"
)]

#[path = "../../../autoscaler/core/tests/kpa_cases/row.rs"]
mod row;

mod ebb;
mod reconcile;
mod settings;
mod steps;
mod trace;
mod validation;

use libtest_mimic::{Arguments, Trial};

use crate::row::Row;

/// Rows that the command line cannot express, as tuples (group or id, reason). An id is used if the other rows of its
/// group can be expressed.
const INSIDE: [(&str, &str); 10] = [
    (
        "buckets",
        "windows of 5 s, where settings allow 6 s and more",
    ),
    ("sampling", "there is nothing to sample in a recording"),
    ("M05", "whom a decider tells of a change"),
    ("M07", "whom a decider tells of a change"),
    ("M09", "whom a decider tells of a change"),
    ("M11", "whom a decider tells of a change"),
    ("M13", "whom a decider tells of a change"),
    ("X13", "slots of one second"),
    (
        "C03",
        "several samples a second: a trace has one, of the whole workload",
    ),
    (
        "C05",
        "parts of a sample: a trace has the whole workload's load",
    ),
];

fn main() {
    let text = include_str!("../../../autoscaler/core/tests/data/kpa-cases.csv");
    let inside = |row: &Row| {
        INSIDE
            .iter()
            .any(|(what, _)| *what == row.group || *what == row.id)
    };
    let rows = row::read(text).into_iter().filter(|row| !inside(row));
    let trials = rows.map(|row| {
        let name = format!("{} {}", row.id, row.group);
        Trial::test(name, move || {
            check(&row);
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn check(row: &Row) {
    let reader: fn(&Row) = match row.group.as_str() {
        "autoscaler" => steps::check,
        "scale-down-delay" => steps::check_delay,
        "multiscaler" => steps::check_first,
        "max-window" => steps::check_maximum,
        "collector" => trace::check_collector,
        "kpa-scaler" => reconcile::check,
        "num-activators" => reconcile::check_activators,
        "target" => settings::check_target,
        "panic-window" => settings::check_panic_window,
        "annotation-validation" => validation::check_annotations,
        "config-validation" => validation::check_config,
        other => panic!("no reader for group {other}"),
    };
    row.show_if_it_fails(reader);
}
