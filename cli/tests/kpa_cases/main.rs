//! Tests Knative's behaviour through the `ebb` program. Every row of the case file that the command line of `ebb` can
//! express is one test, named by the row's id and group.
//!
//! Rows that the command line cannot express are listed in `INSIDE` with the reason. A row of an unknown group fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests panic, so that the backtrace stays"
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
        "windows of 5 s; the settings allow only 6 s or longer",
    ),
    ("sampling", "a trace has no single pods to sample"),
    ("M05", "notifications of watchers are not in the output"),
    ("M07", "notifications of watchers are not in the output"),
    ("M09", "notifications of watchers are not in the output"),
    ("M11", "notifications of watchers are not in the output"),
    ("M13", "notifications of watchers are not in the output"),
    ("X13", "slots of 1 s; Ebb uses slots of 2 s"),
    (
        "C03",
        "several samples per second; a trace has one row per second",
    ),
    (
        "C05",
        "the proxied part of a sample; a trace has only the total concurrency",
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
        other => panic!("no check function for group {other}"),
    };
    row.show_if_it_fails(reader);
}
