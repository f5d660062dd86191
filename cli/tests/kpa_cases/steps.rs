//! Checks the groups `autoscaler`, `scale-down-delay`, `multiscaler` and `max-window` of the case file with
//! `ebb simulate --steps`.

use serde_json::{Value, json};

use crate::{
    ebb::Simulation,
    row::{Row, Words, between},
};

const HEADER: &str = "t,ready,stable,panic,reachable\n";

/// Returns a simulation with the settings of a row of the case file. `words` are the words of its column `config`. The
/// target utilization is `target / total`, or 100 % if the row has no `total`.
fn simulation(words: &Words) -> Simulation {
    let mut simulation = Simulation::default();
    let target: f64 = words.number("target");
    let share = match words.get("total") {
        Some(_) => target / words.number::<f64>("total") * 100.0,
        None => 100.0,
    };
    let total = target / share.round() * 100.0;
    simulation
        .annotation("target", &total.to_string())
        .annotation("target-utilization-percentage", &share.round().to_string())
        .annotation("target-burst-capacity", words.text("tbc"));
    let threshold: f64 = words.number("panicThreshold");
    // The rows give the threshold as a ratio. A ratio of 100 is above the allowed range. It becomes 1000 %, the highest
    // allowed value, at which panic mode does not start in these rows either.
    let threshold = if threshold >= 100.0 {
        1000.0
    } else {
        threshold * 100.0
    };
    simulation.annotation("panic-threshold-percentage", &threshold.to_string());
    for (word, key) in [
        ("maxScaleUpRate", "max-scale-up-rate"),
        ("maxScaleDownRate", "max-scale-down-rate"),
    ] {
        if let Some(value) = words.get(word) {
            simulation.config(key, value);
        }
    }
    if let Some(window) = words.get("stableWindow") {
        simulation.annotation("window", window);
    }
    simulation
}

/// Returns the input line for one step of a row of the case file. `later` seconds are added to the time of the step.
fn step(words: &Words, later: u64, reachable: bool) -> String {
    let t = words.duration("t").as_secs() + later;
    let (stable, panic) = (words.text("stable"), words.text("panic"));
    format!(
        "{t},{},{stable},{panic},{reachable}\n",
        words.get("ready").unwrap_or("0")
    )
}

pub(crate) fn check(row: &Row) {
    let words = Words::of(&row.config);
    if let Some(ready) = row.input.strip_prefix("constructed with ready=") {
        return constructed(ready, &Words::of(&row.expected));
    }
    if row.input == "pod counter returns an error other than NotFound" {
        let decisions = Simulation::default().steps("t,ready,stable,panic\n0,-,5,5\n");
        assert_eq!(decisions[0]["desired"], Value::Null);
        return;
    }
    let mut simulation = simulation(&words);
    let mut input = HEADER.to_owned();
    let mut later = 0;
    if row.config.contains("pre: ") {
        // The autoscaler starts with `maxPanicPods` ready pods, so it starts in panic mode. Before the first step of
        // the row of the case file, no averages are known.
        let ago = words.text("panicTime").strip_prefix("now-").unwrap();
        later = crate::row::duration(ago).as_secs();
        simulation.option("--initial-ready", words.text("maxPanicPods"));
        input += &format!("0,{},-,-,true\n", words.text("maxPanicPods"));
    }
    let reachable = words.number("reachable");
    for text in row.input.split(" | ") {
        input += &step(&Words::of(text), later, reachable);
    }
    let decisions = simulation.steps(&input);
    let expectations: Vec<_> = row.expected.split(" | ").collect();
    let decisions = &decisions[decisions.len() - expectations.len()..];
    for (decision, expected) in decisions.iter().zip(expectations) {
        let expected = Words::of(expected);
        assert_eq!(
            decision["desired"],
            expected.number::<u64>("desired"),
            "{decision}"
        );
        assert_eq!(
            decision["panic_mode"],
            expected.number::<bool>("panicMode"),
            "{decision}"
        );
        let excess = decision["excess_burst_capacity"].as_i64().unwrap();
        assert!(
            (excess - expected.number::<i64>("ebc")).abs() <= 1,
            "{decision}"
        );
    }
}

/// Checks an autoscaler that starts with `ready` ready pods: whether it is in panic mode, and how many pods it keeps.
fn constructed(ready: &str, expected: &Words) {
    let mut simulation = Simulation::default();
    simulation.option("--initial-ready", ready);
    let decisions = simulation.steps(&format!("t,ready,stable,panic\n0,{ready},0,0\n"));
    assert_eq!(
        decisions[0]["panic_mode"],
        expected.number::<bool>("panicMode")
    );
    assert_eq!(
        decisions[0]["desired"],
        expected.number::<u64>("maxPanicPods")
    );
}

pub(crate) fn check_delay(row: &Row) {
    let words = Words::of(&row.config);
    let mut simulation = simulation(&words);
    simulation.annotation("scale-down-delay", words.text("scaleDownDelay"));
    let mut reachable: bool = words.number("reachable");
    let mut input = HEADER.to_owned();
    for text in row.input.split(" | ") {
        match text.strip_prefix("spec.reachable=") {
            Some(value) => reachable = value.parse().unwrap(),
            None => input += &step(&Words::of(text), 0, reachable),
        }
    }
    let desired: Vec<_> = simulation
        .steps(&input)
        .iter()
        .map(|decision| decision["desired"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = row
        .expected
        .split(" | ")
        .map(|text| Words::of(text).number("desired"))
        .collect();
    assert_eq!(desired, expected);
}

/// Checks the first decision, without any data.
pub(crate) fn check_first(row: &Row) {
    assert!(
        row.input.starts_with("decider just created"),
        "not understood: {}",
        row.input
    );
    let mut simulation = Simulation::default();
    simulation.annotation("target-burst-capacity", Words::of(&row.config).text("tbc"));
    // Neither the ready pods nor the averages are known.
    let decisions = simulation.steps("t,ready,stable,panic\n0,-,-,-\n");
    let expected = Words::of(&row.expected.replace("status.", ""));
    assert_eq!(expected.number::<i64>("desired"), -1);
    assert_eq!(decisions[0]["desired"], Value::Null);
    assert_eq!(
        decisions[0]["excess_burst_capacity"],
        expected.number::<i64>("ebc")
    );
}

/// Checks a sliding maximum over slots of two seconds, through the setting scale-down-delay.
pub(crate) fn check_maximum(row: &Row) {
    let slots: u64 = between(&row.config, "window of ", " slots")
        .unwrap()
        .parse()
        .unwrap();
    let (values, indices) = row
        .input
        .strip_prefix("values=")
        .unwrap()
        .split_once(" at ")
        .unwrap();
    let list = |text: &str| -> Vec<u64> { serde_json::from_str(text).unwrap() };
    let values = list(values);
    let indices = match indices {
        "consecutive indices" => (0..).take(values.len()).collect(),
        listed => list(listed.strip_prefix("indices ").unwrap()),
    };
    let mut simulation = Simulation::default();
    simulation
        .annotation("target", "1")
        .annotation("target-utilization-percentage", "100")
        .annotation("scale-down-delay", &format!("{}s", slots * 2))
        // max-scale-down-rate is so high that it does not limit the decrease.
        .config("max-scale-down-rate", "1000");
    let mut input = HEADER.to_owned();
    for (slot, value) in indices.iter().zip(&values) {
        // The number of ready pods equals the desired number, so panic mode does not start.
        input += &format!("{},{value},{value},{value},true\n", slot * 2);
    }
    let maxima: Vec<_> = simulation
        .steps(&input)
        .iter()
        .map(|decision| decision["desired"].clone())
        .collect();
    let expected = list(row.expected.strip_prefix("running max=").unwrap());
    assert_eq!(json!(maxima), json!(expected));
}
