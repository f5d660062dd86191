//! Checks the group `collector` of the case file with `ebb simulate`.

use crate::{
    ebb::Simulation,
    row::{Row, Words},
};

pub(crate) fn check_collector(row: &Row) {
    let words = Words::of(&row.config);
    let mut simulation = Simulation::default();
    match (row.input.as_str(), row.expected.as_str()) {
        ("1 stat/s values 5..14 for t=0..9, read t=9", expected) => {
            let stable = words.duration("stable").as_secs_f64();
            let share = words.duration("panic").as_secs_f64() / stable * 100.0;
            simulation
                .annotation("window", words.text("stable"))
                .annotation("panic-window-percentage", &share.to_string());
            // The case file's values 5 to 14 are at t=1 to 10 of the trace, so that the last value is on an even
            // second: decisions are made on even seconds. The trace begins one second before the first value, with
            // value 4.
            let rows: String = (0..=10).map(|t| format!("{t},{}\n", t + 4)).collect();
            let decisions = simulation.trace(&format!("t,concurrency\n{rows}"));
            let last = decisions.last().unwrap();
            let expected = Words::of(expected);
            assert_eq!(last["t"], 10.0);
            assert_eq!(last["stable"], expected.number::<f64>("stable"));
            assert_eq!(last["panic"], expected.number::<f64>("panic"));
        }
        ("no data ever recorded", "0,0 with NO error -> autoscaler may decide 0") => {
            assert_eq!(row.config, "scrapeTarget empty (TBC=-1)");
            simulation.annotation("target-burst-capacity", "-1");
            let decisions = simulation.steps("t,ready,stable,panic\n0,0,-,-\n");
            assert_eq!(decisions[0]["desired"], 0);
        }
        other => panic!("not understood: {other:?}"),
    }
}
