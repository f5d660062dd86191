//! Checks the groups `kpa-scaler` and `num-activators` (bounds, scale to zero) of the case file with
//! `ebb simulate --steps`.

use std::time::Duration;

use serde_json::Value;

use crate::{
    ebb::Simulation,
    row::{Row, Words, duration},
};

/// One row of the input of `ebb simulate --steps`, made from a row of the case file.
struct Step {
    replicas: u64,
    /// The concurrency that results in the row's desired number of pods; `None` if the row has no desired number.
    load: Option<u64>,
    reachable: bool,
    proxied_for: String,
    activator_answers: bool,
    stable_window: Duration,
}

pub(crate) fn check(row: &Row) {
    let mut simulation = Simulation::default();
    let mut step = Step {
        replicas: 0,
        load: None,
        reachable: true,
        proxied_for: "-".to_owned(),
        activator_answers: true,
        stable_window: Duration::from_secs(60),
    };
    simulation
        .annotation("target", "1")
        .annotation("target-utilization-percentage", "100");
    let mut deadline = None;
    for word in row.config.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "stable-window" => {
                step.stable_window = duration(value);
                simulation.config(key, value);
            }
            "grace" => {
                let value = value.strip_suffix("(gracePeriod)").unwrap();
                simulation.config("scale-to-zero-grace-period", value);
            }
            "scale-to-zero" => {
                simulation.config("enable-scale-to-zero", &(value == "on").to_string());
            }
            "enable-scale-to-zero" => {
                simulation.config(key, value);
            }
            "tbc" => {
                simulation.config("target-burst-capacity", value);
            }
            "minScale" => {
                simulation.annotation("min-scale", value);
            }
            "progressDeadline" => deadline = Some(value.to_owned()),
            "activationTimeout" => {}
            _ => panic!("not understood: {word}"),
        }
    }
    for clause in row.input.split("; ") {
        if let Some(own) = clause.strip_prefix("ann progress-deadline=") {
            deadline = Some(own.to_owned());
        } else {
            take(&mut simulation, &mut step, clause);
        }
    }
    if let Some(deadline) = deadline {
        simulation.annotation("serving.knative.dev/progress-deadline", &deadline);
    }
    let load = step
        .load
        .map_or_else(|| "-".to_owned(), |load| load.to_string());
    let Step {
        replicas,
        reachable,
        proxied_for,
        activator_answers,
        ..
    } = step;
    let input = format!(
        "t,ready,stable,panic,reachable,replicas,proxied_for,activator_answers\n\
         0,0,{load},{load},{reachable},{replicas},{proxied_for},{activator_answers}\n"
    );
    expect(row, &simulation.steps(&input)[0]);
}

fn take(simulation: &mut Simulation, step: &mut Step, clause: &str) {
    if clause.starts_with("replicas=") {
        let words = Words::of(clause);
        step.replicas = words.number("replicas");
        step.load = u64::try_from(words.number::<i64>("desired")).ok();
        return;
    }
    let (key, value) = clause.split_once('=').unwrap_or((clause, ""));
    match key {
        "probe error" => step.activator_answers = false,
        "unreachable" => step.reachable = false,
        "reachable" | "unknown" | "default status" => {}
        // "Target initialised" means that the workload is no longer activating. No option is needed for it.
        "target initialised" => {}
        "minScale" => drop(simulation.annotation("min-scale", value)),
        "maxScale" => drop(simulation.annotation("max-scale", value)),
        "initial-scale" => drop(simulation.annotation(key, value)),
        "window ann" => {
            step.stable_window = duration(value);
            simulation.annotation("window", value);
        }
        "retention ann" | "ann retention" => {
            simulation.annotation("scale-to-zero-pod-retention-period", value);
        }
        "CM retention" => drop(simulation.config("scale-to-zero-pod-retention-period", value)),
        _ => match clause.strip_prefix("SKS proxy for ") {
            Some(proxied) => step.proxied_for = duration(proxied).as_secs_f64().to_string(),
            None => stand(simulation, step, clause),
        },
    }
}

/// Sets the initial state from a clause such as `Active for 5m`, `PA Active for window-1s` or `Inactive`.
fn stand(simulation: &mut Simulation, step: &Step, clause: &str) {
    let clause = clause.strip_prefix("PA ").unwrap_or(clause);
    let (state, lasted) = clause.split_once(" for ").unwrap_or((clause, "0s"));
    let lasted = match lasted {
        "window" => step.stable_window,
        "window-1s" => step.stable_window - Duration::from_secs(1),
        lasted => duration(lasted),
    };
    let state = state.to_lowercase();
    simulation.option(
        "--initial-state",
        &format!("{state}:{}s", lasted.as_secs_f64()),
    );
}

fn expect(row: &Row, decision: &Value) {
    let words = Words::of(&row.expected);
    let want = words.number::<i64>("returned");
    assert_eq!(decision["want"].as_i64().unwrap_or(-1), want, "{decision}");
    assert_eq!(
        !decision["apply"].is_null(),
        words.number::<bool>("applied"),
        "{decision}"
    );
    assert!(
        decision["apply"].is_null() || decision["apply"] == decision["want"],
        "{decision}"
    );
    let says = |word: &str| row.expected.contains(word);
    assert_eq!(!decision["again"].is_null(), says("requeue"), "{decision}");
    assert_eq!(decision["probe"], says("async probe"), "{decision}");
}

pub(crate) fn check_activators(row: &Row) {
    let words = Words::of(&row.config);
    let mut simulation = Simulation::default();
    simulation
        .annotation("target", words.text("total"))
        .annotation("target-burst-capacity", words.text("tbc"))
        .config("activator-capacity", words.text("activator-capacity"));
    let ready = Words::of(&row.input).number::<u32>("ready");
    let decisions = simulation.steps(&format!("t,ready,stable,panic\n0,{ready},1,1\n"));
    let expected: u64 = Words::of(&row.expected).number("activators");
    assert_eq!(decisions[0]["activators"], expected);
}
