//! Tests for the case groups `target` and `panic-window`: settings that are computed from those of the cluster and of
//! the workload.

use ebb_autoscaler_core::{Annotations, Config, Settings, settings::panic_window};

use crate::row::{Row, Words, duration};

pub(crate) fn check_target(row: &Row) {
    assert_eq!(row.input, "resolve");
    let words = Words::of(&row.config);
    let data = [
        (
            "container-concurrency-target-percentage",
            words.text("cc-fraction"),
        ),
        (
            "container-concurrency-target-default",
            words.text("cc-default"),
        ),
    ];
    let config = Config::from_map(data).unwrap();
    let annotations = [
        ("autoscaling.knative.dev/metric", words.text("metric")),
        ("autoscaling.knative.dev/target", words.text("target-ann")),
        (
            "autoscaling.knative.dev/target-utilization-percentage",
            words.text("utilization-ann"),
        ),
    ];
    let annotations = annotations
        .into_iter()
        .filter(|(_, value)| *value != "None");
    let annotations = Annotations::parse(&config, annotations).unwrap();
    let settings = Settings::resolve(&config, &annotations, words.number("containerConcurrency"));
    let expected = Words::of(&row.expected);
    let tolerance: f64 = row.tolerance.parse().unwrap();
    for (key, value) in [("target", settings.target), ("total", settings.total)] {
        assert!(
            (value - expected.number::<f64>(key)).abs() <= tolerance,
            "{key} {value}"
        );
    }
}

pub(crate) fn check_panic_window(row: &Row) {
    let words = Words::of(&row.config);
    assert_eq!(
        row.input,
        "panic window = max(1s, round-half-away(window*pct/100))"
    );
    let length = panic_window(
        words.duration("window"),
        words.number("panic-window-percentage"),
    );
    assert_eq!(length, duration(&row.expected));
}
