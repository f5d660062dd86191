//! Checks the groups `target` and `panic-window` of the case file: the summary of `ebb simulate` shows the settings in
//! force.

use crate::{
    ebb::Simulation,
    row::{Row, Words, duration},
};

/// Returns the settings in force, as the summary contains them. A trace with one row is simulated to get a summary.
fn in_force(simulation: &mut Simulation) -> serde_json::Value {
    let lines = simulation
        .option("--summary", "json")
        .trace("t,concurrency,rps\n0,1,1\n");
    lines.last().unwrap()["summary"]["settings"].clone()
}

pub(crate) fn check_target(row: &Row) {
    assert_eq!(row.input, "resolve");
    let words = Words::of(&row.config);
    let mut simulation = Simulation::default();
    simulation
        .config(
            "container-concurrency-target-percentage",
            words.text("cc-fraction"),
        )
        .config(
            "container-concurrency-target-default",
            words.text("cc-default"),
        )
        .option(
            "--container-concurrency",
            words.text("containerConcurrency"),
        );
    for (key, word) in [
        ("metric", "metric"),
        ("target", "target-ann"),
        ("target-utilization-percentage", "utilization-ann"),
    ] {
        if words.text(word) != "None" {
            simulation.annotation(key, words.text(word));
        }
    }
    let settings = in_force(&mut simulation);
    let expected = Words::of(&row.expected);
    let tolerance: f64 = row.tolerance.parse().unwrap();
    for key in ["target", "total"] {
        let off = settings[key].as_f64().unwrap() - expected.number::<f64>(key);
        assert!(off.abs() <= tolerance, "{key}: {settings}");
    }
}

pub(crate) fn check_panic_window(row: &Row) {
    let words = Words::of(&row.config);
    let mut simulation = Simulation::default();
    for key in ["window", "panic-window-percentage"] {
        simulation.annotation(key, words.text(key));
    }
    let settings = in_force(&mut simulation);
    assert_eq!(settings["panic_window"], duration(&row.expected).as_secs());
}
