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

/// Rows of the case file that cannot be tested with the command line, as tuples (group or id, reason). A tuple names
/// the id of a row if other rows of its group can be tested.
const INSIDE: [(&str, &str); 10] = [
    (
        "buckets",
        "windows of 5 s; the settings allow only 6 s or longer",
    ),
    ("sampling", "a trace has no data of individual pods"),
    (
        "M05",
        "the case is about notified watchers; the output of ebb simulate has none",
    ),
    ("M07", "the output has no notifications of watchers"),
    ("M09", "the output has no notifications of watchers"),
    ("M11", "the output has no notifications of watchers"),
    ("M13", "the output has no notifications of watchers"),
    ("X13", "intervals of 1 s; Ebb uses intervals of 2 s"),
    (
        "C03",
        "several samples per second; a trace has one row per second",
    ),
    (
        "C05",
        "samples with a proxied part; a trace has only the total concurrency",
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
