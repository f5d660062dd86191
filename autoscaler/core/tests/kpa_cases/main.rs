//! Knative's behaviour, row by row: every line of `tests/data/kpa-cases.csv` is a test, named by its id and group.
//!
//! Bias: strict. The parser of a row panics at any unknown word, so a row that is not fully parsed fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "tests panic, so that the backtrace stays"
)]

mod autoscaler;
mod reconcile;
mod row;
mod settings;
mod validation;
mod windows;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::row::Row;

fn main() {
    let rows = row::read(include_str!("../data/kpa-cases.csv"));
    let trials = rows.into_iter().map(|row| {
        let name = format!("{} {}", row.id, row.group);
        Trial::ignorable_test(name, move || {
            if row.group == "sampling" {
                return Ok(Completion::ignored_with(
                    "skipped: Ebb measures every pod and samples none",
                ));
            }
            check(&row);
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn check(row: &Row) {
    let reader: fn(&Row) = match row.group.as_str() {
        "autoscaler" => autoscaler::check,
        "scale-down-delay" => autoscaler::check_delay,
        "multiscaler" => autoscaler::check_notices,
        "buckets" => windows::check,
        "max-window" => windows::check_maximum,
        "collector" => windows::check_collector,
        "kpa-scaler" => reconcile::check,
        "num-activators" => reconcile::check_activators,
        "target" => settings::check_target,
        "panic-window" => settings::check_panic_window,
        "annotation-validation" => validation::check_annotations,
        "config-validation" => validation::check_config,
        other => panic!("no parser for group {other}"),
    };
    row.show_if_it_fails(reader);
}
