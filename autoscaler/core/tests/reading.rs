//! Tests of parsing settings: gaps in Knative's validation are closed, and all errors are reported at once.

use ebb_autoscaler_core::{
    Aggregation, Annotations, Class, Config, Metric, Settings, annotations::Mode,
};

const GROUP: &str = "autoscaling.knative.dev/";

fn annotations(pairs: &[(&str, &str)]) -> Result<Annotations, Vec<String>> {
    read(&Config::default(), pairs)
}

fn read(config: &Config, pairs: &[(&str, &str)]) -> Result<Annotations, Vec<String>> {
    let name = |key: &str| {
        if key.contains('/') {
            key.to_owned()
        } else {
            format!("{GROUP}{key}")
        }
    };
    let names: Vec<_> = pairs.iter().map(|(key, _)| name(key)).collect();
    let given = names
        .iter()
        .zip(pairs)
        .map(|(name, (_, value))| (name.as_str(), *value));
    Annotations::parse(config, given)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn config(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    Config::from_map(pairs.iter().copied())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn ten_mistakes_are_ten_lines() {
    let problems = annotations(&[
        ("class", "mpa.autoscaling.knative.dev"),
        ("target", "NaN"),
        ("target-utilization-percentage", "+Inf"),
        ("window", "60"),
        ("initial-scale", "99999999999"),
        ("panicWindowPercentage", "0"),
        ("min-scale", "-1"),
        ("min-scal", "1"),
        ("ebb.dev/ports", "80,http"),
        ("ebb.dev/mode", "dry-run"),
    ])
    .unwrap_err();
    let expected = [
        r#"autoscaling.knative.dev/class: invalid value "mpa.autoscaling.knative.dev": must be kpa.autoscaling.knative.dev, hpa.autoscaling.knative.dev, ebb.dev or another autoscaler's class"#,
        "autoscaling.knative.dev/initial-scale: expected 0 <= 99999999999 <= 2147483647",
        r#"autoscaling.knative.dev/min-scal: unknown key (value "1"); did you mean autoscaling.knative.dev/min-scale?"#,
        "autoscaling.knative.dev/min-scale: expected 0 <= -1 <= 2147483647",
        "autoscaling.knative.dev/panicWindowPercentage: expected 1 <= 0 <= 100",
        r#"autoscaling.knative.dev/target: invalid value "NaN": must be a number >= 0.01"#,
        r#"autoscaling.knative.dev/target-utilization-percentage: invalid value "+Inf": must be a number from 1 to 100"#,
        r#"autoscaling.knative.dev/window: invalid value "60": must be a duration with a unit, such as 90s, 1m30s or 250ms"#,
        r#"ebb.dev/mode: invalid value "dry-run": must be recommend (without the annotation, decisions are applied)"#,
        r#"ebb.dev/ports: invalid value "80,http": must be port numbers from 1 to 65535, separated by commas"#,
    ];
    assert_eq!(problems, expected);
}

#[test]
fn what_is_no_number_is_refused_everywhere() {
    for value in [
        "NaN",
        "nan",
        "Inf",
        "+Inf",
        "-Infinity",
        "1e400",
        "",
        " 1",
        "1,5",
        "0x10",
    ] {
        for key in [
            "target",
            "target-utilization-percentage",
            "target-burst-capacity",
            "panic-window-percentage",
            "panic-threshold-percentage",
        ] {
            assert_eq!(
                annotations(&[(key, value)]).unwrap_err().len(),
                1,
                "{key}={value}"
            );
        }
        for key in [
            "container-concurrency-target-percentage",
            "container-concurrency-target-default",
            "requests-per-second-target-default",
            "target-burst-capacity",
            "panic-window-percentage",
            "panic-threshold-percentage",
            "max-scale-up-rate",
            "max-scale-down-rate",
            "activator-capacity",
        ] {
            assert_eq!(
                config(&[(key, value)]).unwrap_err().len(),
                1,
                "{key}={value}"
            );
        }
    }
}

#[test]
fn the_config_map_has_the_bounds_that_annotations_have() {
    for (key, value) in [
        ("panic-threshold-percentage", "50"),
        ("panic-threshold-percentage", "-1"),
        ("scale-down-delay", "2h"),
        ("scale-to-zero-pod-retention-period", "24h"),
        ("container-concurrency-target-percentage", "1.01"),
        ("container-concurrency-target-percentage", "0"),
        ("requests-per-second-target-default", "0.001"),
        ("scale-to-zero-grace-period", "-1s"),
        ("min-scale", "4294967296"),
        ("max-scale-limit", "-1"),
        ("pod-autoscaler-class", "mpa.autoscaling.knative.dev"),
        ("burst-window", "10ms"),
        ("enable-scale-to-zero", "yes"),
        ("stable-windows", "60s"),
        ("max-scale-limit", "10"),
        ("initial-scale", "0"),
    ] {
        let problems = config(&[(key, value)]).unwrap_err();
        assert_eq!(problems.len(), 1, "{key}={value}: {problems:?}");
    }
    let all = config(&[
        ("stable-window", "5s"),
        ("max-scale-up-rate", "1"),
        ("min-scale", "4"),
        ("max-scale", "3"),
    ]);
    assert_eq!(all.unwrap_err().len(), 3);
}

#[test]
fn the_empty_config_map_is_the_default_and_the_example_is_skipped() {
    assert_eq!(config(&[]).unwrap(), Config::default());
    assert_eq!(
        config(&[("_example", "target: whatever")]).unwrap(),
        Config::default()
    );
    assert_eq!(
        config(&[("container-concurrency-target-percentage", "1")])
            .unwrap()
            .target_fraction,
        1.0
    );
    assert_eq!(
        config(&[("container-concurrency-target-percentage", "2")])
            .unwrap()
            .target_fraction,
        0.02
    );
}

#[test]
fn the_kebab_spelling_wins() {
    let read = annotations(&[("min-scale", "2"), ("minScale", "nonsense")]).unwrap();
    assert_eq!(read.min_scale, Some(2));
    assert_eq!(
        annotations(&[("minScale", "3")]).unwrap().min_scale,
        Some(3)
    );
}

#[test]
fn what_the_class_allows() {
    let (kpa, hpa) = (
        ("class", "kpa.autoscaling.knative.dev"),
        ("class", "hpa.autoscaling.knative.dev"),
    );
    let ebb = ("class", "ebb.dev");
    assert!(annotations(&[("metric", "cpu")]).is_err());
    assert!(annotations(&[ebb, ("metric", "Concurrency")]).is_err());
    assert!(annotations(&[hpa, ("metric", "")]).is_err());
    assert!(annotations(&[("class", "a.b"), ("metric", "")]).is_ok());
    assert!(annotations(&[kpa, ("metric-aggregation-algorithm", "random")]).is_err());
    assert!(annotations(&[ebb, ("metric-aggregation-algorithm", "random")]).is_err());
    let read =
        annotations(&[kpa, ("metric-aggregation-algorithm", "weightedExponential")]).unwrap();
    assert_eq!(read.aggregation, Some(Aggregation::WeightedExponential));
    let settings = |pairs: &[(&str, &str)]| {
        Settings::resolve(&Config::default(), &annotations(pairs).unwrap(), 0)
    };
    assert_eq!(settings(&[hpa]).metric, Metric::Named("cpu".into()));
    assert_eq!(settings(&[ebb]).burst_window.as_millis(), 250);
    assert_eq!(
        settings(&[ebb, ("ebb.dev/burst-window", "0")])
            .burst_window
            .as_millis(),
        0
    );
    assert_eq!(
        settings(&[kpa, ("ebb.dev/burst-window", "500ms")])
            .burst_window
            .as_millis(),
        0
    );
    let cluster = Config {
        class: Class::Hpa,
        ..Config::default()
    };
    assert!(read_metric(&cluster, "memory").is_ok());
}

fn read_metric(config: &Config, metric: &str) -> Result<Annotations, Vec<String>> {
    read(config, &[("metric", metric)])
}

#[test]
fn own_keys_and_foreign_ones() {
    let read = annotations(&[
        ("ebb.dev/ports", "80, 8080"),
        ("ebb.dev/exclude-paths", "/metrics,/healthz"),
        ("ebb.dev/mode", "recommend"),
        ("ebb.dev/hard-limit", "1000"),
        ("serving.knative.dev/progress-deadline", "5m"),
        ("prometheus.io/scrape", "true"),
        ("serving.knative.dev/creator", "me"),
    ])
    .unwrap();
    assert_eq!((read.ports, read.mode), (vec![80, 8080], Mode::Recommend));
    assert_eq!(read.exclude_paths, ["/metrics", "/healthz"]);
    assert_eq!(read.hard_limit, Some(1000));
    for (key, value) in [
        ("ebb.dev/ports", "0"),
        ("ebb.dev/ports", ""),
        ("ebb.dev/exclude-paths", "metrics"),
        ("ebb.dev/port", "80"),
        ("ebb.dev/hard-limit", "-1"),
        ("ebb.dev/hard-limit", "1001"),
        ("ebb.dev/hard-limit", "one"),
    ] {
        assert_eq!(
            annotations(&[(key, value)]).unwrap_err().len(),
            1,
            "{key}={value}"
        );
    }
}

#[test]
fn what_the_kernel_cannot_keep_is_an_invalid_value() {
    let ports = |count: u16| (1..=count).map(|port| port.to_string()).collect::<Vec<_>>();
    let longest = format!("/{}", "x".repeat(39));
    let longer = format!("{longest}x");
    for (key, value) in [
        ("ebb.dev/ports", ports(16).join(",")),
        // A port that is named twice counts once.
        ("ebb.dev/ports", [ports(16), ports(16)].concat().join(",")),
        ("ebb.dev/exclude-paths", longest),
    ] {
        assert!(annotations(&[(key, &value)]).is_ok(), "{key}={value}");
    }
    for (key, value, allowed) in [
        (
            "ebb.dev/ports",
            ports(17).join(","),
            "17 ports; at most 16 are allowed",
        ),
        ("ebb.dev/exclude-paths", longer, "at most 40 bytes"),
        (
            "ebb.dev/exclude-paths",
            "/metrics,/a?b".to_owned(),
            "invalid path \"/a?b\"",
        ),
    ] {
        let problems = annotations(&[(key, &value)]).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with(key) && problems[0].contains(allowed),
            "{problems:?}"
        );
    }
}

#[test]
fn activation_scale_is_checked_in_knatives_order() {
    for (pairs, message) in [
        (
            &[("min-scale", "3"), ("activation-scale", "1")][..],
            "min-scale=3 is greater than activation-scale=1",
        ),
        (
            &[("max-scale", "3"), ("activation-scale", "4")],
            "max-scale=3 is less than activation-scale=4",
        ),
        (
            &[("activation-scale", "1")],
            "activation-scale=1 must be greater than 1",
        ),
        (
            &[("activation-scale", "-7")],
            "activation-scale=-7 must be greater than 1",
        ),
        (
            &[("activation-scale", "two")],
            "invalid value \"two\": must be a whole number from 2 to 2147483647",
        ),
    ] {
        let problems = annotations(pairs).unwrap_err();
        assert_eq!(problems, [format!("{GROUP}activation-scale: {message}")]);
    }
}

#[test]
fn a_checker_sees_what_can_be_read_of_a_bad_config_map() {
    let (config, problems) =
        Config::from_map_lossy([("max-scale-limit", "10"), ("stable-window", "1s")]);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(config.max_scale_limit, 10);
    assert_eq!(config.stable_window, Config::default().stable_window);
}

#[test]
fn keys_of_others_are_not_read() {
    for (key, read) in [
        ("autoscaling.knative.dev/anything", true),
        ("ebb.dev/ports", true),
        ("serving.knative.dev/progress-deadline", true),
        ("serving.knative.dev/creator", false),
        ("target", false),
    ] {
        assert_eq!(
            ebb_autoscaler_core::annotations::is_read(key),
            read,
            "{key}"
        );
    }
}

#[test]
fn a_hard_limit_bounds_the_target() {
    let config = Config::default();
    let total = |pairs: &[(&str, &str)], revision| {
        let settings = Settings::resolve(&config, &annotations(pairs).unwrap(), revision);
        (settings.hard_limit, settings.total)
    };
    let limit = ("ebb.dev/hard-limit", "5");
    assert_eq!(total(&[], 0), (0, 100.0));
    assert_eq!(total(&[limit], 0), (5, 5.0));
    let target = ("autoscaling.knative.dev/target", "10");
    assert_eq!(total(&[limit, target], 0), (5, 5.0));
    assert_eq!(
        total(&[limit], 2),
        (2, 2.0),
        "the hard limit of the revision takes precedence over the annotation"
    );
}
