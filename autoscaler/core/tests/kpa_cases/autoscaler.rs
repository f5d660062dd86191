//! Tests for the case groups `autoscaler`, `scale-down-delay` and `multiscaler`: decisions, and whether observers are
//! notified of them.

use ebb_autoscaler_core::{
    Averages, Facts, Settings, Timestamp, Workload,
    decision::{Observation, Scaler},
    latest::{Latest, same_sign},
    reason::Basis,
};

use crate::row::{Row, Words, between, duration};

/// The time for second 0 of a row in the case file. This time is late enough that no time of a row is before the Unix
/// epoch. It is an even number of seconds, so that slots of two seconds start at the same times as in the rows.
const START: Timestamp = Timestamp::from_secs(1_000_000);

fn settings(words: &Words) -> Settings {
    let mut settings = Settings {
        target: words.number("target"),
        ..Settings::default()
    };
    if words.get("total").is_some() {
        settings.total = words.number("total");
    }
    settings.target_burst_capacity = words.number("tbc");
    settings.panic_threshold = words.number("panicThreshold");
    if words.get("maxScaleUpRate").is_some() {
        settings.max_scale_up_rate = words.number("maxScaleUpRate");
        settings.max_scale_down_rate = words.number("maxScaleDownRate");
    }
    if words.get("stableWindow").is_some() {
        settings.stable_window = words.duration("stableWindow");
    }
    settings
}

pub(crate) fn check(row: &Row) {
    if let Some(ready) = row.input.strip_prefix("constructed with ready=") {
        let scaler = Scaler::new(START, ready.parse().unwrap());
        let expected = Words::of(&row.expected);
        assert_eq!(scaler.is_panicking(), expected.number("panicMode"));
        assert_eq!(scaler.most_in_panic(), expected.number("maxPanicPods"));
        return;
    }
    if row.input == "pod counter returns an error other than NotFound" {
        assert_eq!(row.expected, "ScaleValid=false (0,0)");
        let mut workload = Workload::new(START, Settings::default(), 0);
        let decision = workload.decide(
            START,
            &Facts {
                ready: None,
                ..Facts::local(0, 1)
            },
        );
        assert_eq!((decision.desired, decision.step.apply), (None, None));
        assert_eq!(decision.reason.basis, Basis::ReadyUnknown);
        return;
    }

    let words = Words::of(&row.config);
    let settings = settings(&words);
    let reachable: bool = words.number("reachable");
    assert_eq!(words.text("delay"), "0");
    let mut scaler = match row.config.contains("pre: ") {
        true => {
            let ago = duration(words.text("panicTime").strip_prefix("now-").unwrap());
            Scaler::new(START - ago, words.number("maxPanicPods"))
        }
        false => Scaler::new(START, 0),
    };
    assert_eq!(row.tolerance, "ebc +-1");
    let steps: Vec<_> = row.input.split(" | ").collect();
    let expectations: Vec<_> = row.expected.split(" | ").collect();
    assert_eq!(steps.len(), expectations.len());
    for (step, expected) in steps.iter().zip(expectations) {
        let (now, observation) = observation(&Words::of(step), reachable);
        let scale = scaler.scale(now, &settings, &observation);
        let expected = Words::of(expected);
        assert_eq!(scale.desired, expected.number("desired"), "{step}");
        assert_eq!(scale.panic_mode, expected.number("panicMode"), "{step}");
        let off = scale.excess_burst_capacity - expected.number::<i32>("ebc");
        assert!(
            off.abs() <= 1,
            "{step}: ebc {}",
            scale.excess_burst_capacity
        );
    }
}

fn observation(words: &Words, reachable: bool) -> (Timestamp, Observation) {
    let averages = Averages {
        stable: words.number("stable"),
        panic: words.number("panic"),
    };
    let ready = if words.get("ready").is_some() {
        words.number("ready")
    } else {
        0
    };
    (
        START + words.duration("t"),
        Observation {
            ready,
            reachable,
            averages,
            burst: None,
        },
    )
}

pub(crate) fn check_delay(row: &Row) {
    let words = Words::of(&row.config);
    let mut settings = settings(&words);
    settings.scale_down_delay = words.duration("scaleDownDelay");
    let mut reachable: bool = words.number("reachable");
    assert_eq!(words.number::<u32>("ready"), 0);
    let mut scaler = Scaler::new(START, 0);
    let mut expected = row.expected.split(" | ");
    for step in row.input.split(" | ") {
        if let Some(value) = step.strip_prefix("spec.reachable=") {
            reachable = value.parse().unwrap();
            continue;
        }
        let (now, observation) = observation(&Words::of(step), reachable);
        let wanted: u32 = Words::of(expected.next().unwrap()).number("desired");
        assert_eq!(
            scaler.scale(now, &settings, &observation).desired,
            wanted,
            "{step}"
        );
    }
    assert_eq!(expected.next(), None);
}

pub(crate) fn check_notices(row: &Row) {
    let latest = |desired: i32, excess_burst_capacity| Latest {
        desired: u32::try_from(desired).ok(),
        excess_burst_capacity,
    };
    match (row.config.as_str(), row.input.as_str()) {
        (config, "decider just created, no tick yet" | "decider just created") => {
            let words = Words::of(config);
            let settings = Settings {
                target_burst_capacity: words.number("tbc"),
                ..Settings::default()
            };
            let expected = Words::of(&row.expected.replace("status.", ""));
            assert_eq!(
                Latest::new(&settings),
                latest(expected.number("desired"), expected.number("ebc"))
            );
        }
        ("(1,1) then (1,-1)", "desired unchanged, EBC sign flips") => {
            assert_eq!(row.expected, "watcher notified on the sign flip");
            assert!(latest(1, -1).differs_from(&latest(1, 1)));
            assert!(!latest(1, 2).differs_from(&latest(1, 1)));
        }
        ("(0,1,valid)", "first tick: desired -1 -> 0") => {
            assert_eq!(row.expected, "watcher notified with desired=0");
            assert!(latest(0, 1).differs_from(&latest(-1, 1)));
        }
        ("EBC sign comparison (0 counts as positive)", pair) => {
            let (a, b) = pair.split_once(" vs ").unwrap();
            let same: bool = between(&row.expected, "sameSign=", "")
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(same_sign(a.parse().unwrap(), b.parse().unwrap()), same);
        }
        other => panic!("not understood: {other:?}"),
    }
}
