//! Tests for the case groups `annotation-validation` and `config-validation`: accepted and refused values.

use ebb_autoscaler_core::{Annotations, Config};

use crate::row::{Row, pairs};

pub(crate) fn check_annotations(row: &Row) {
    let mut cluster = pairs(&row.config);
    if row.config.starts_with("max-scale-limit=") {
        // `max-scale-limit` in the config map requires `max-scale` in the config map as well.
        cluster.push(("max-scale", "1"));
    }
    let config = Config::from_map(cluster).unwrap();

    let given = row.annotations();
    let result = Annotations::parse(
        &config,
        given.iter().map(|(key, value)| (key.as_str(), *value)),
    );

    match (row.expected.as_str(), result) {
        ("ok", result) => drop(result.unwrap()),
        (_, Ok(read)) => panic!("was taken: {read:?}"),
        (expected, Err(problems)) => {
            assert_eq!(problems.iter().count(), 1, "{problems}");
            let line = problems.to_string();
            assert!(line.contains(expected), "{line}");
            // The error message names key and value in every case.
            let (key, value) = given
                .iter()
                .find(|(key, _)| line.contains(key.as_str()))
                .expect("the key is named");
            assert!(line.contains(value), "{key}: {line}");
        }
    }
}

pub(crate) fn check_config(row: &Row) {
    assert_eq!(row.input, "parse config map");
    let result = Config::from_map(pairs(&row.config));
    match row.expected.as_str() {
        "ok" => drop(result.unwrap()),
        "error" | "error (must be > 1.0)" => {
            let problems = result.unwrap_err();
            assert_eq!(problems.iter().count(), 1, "{problems}");
            let (key, value) = pairs(&row.config)[0];
            let line = problems.to_string();
            assert!(line.contains(key) && line.contains(value), "{line}");
        }
        "true (any case)" => assert!(result.unwrap().scale_to_zero),
        other => match other.strip_prefix("fraction ") {
            Some(fraction) => assert_eq!(
                result.unwrap().target_fraction,
                fraction.parse::<f64>().unwrap()
            ),
            None => panic!("not understood: {other}"),
        },
    }
}
