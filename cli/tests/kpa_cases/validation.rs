//! Checks the groups `annotation-validation` and `config-validation` of the case file with `ebb lint` and
//! `ebb simulate --config`.

use crate::{
    ebb::{self, CommandOutput, Simulation},
    row::{Row, pairs},
};

fn lint(manifest: &str) -> CommandOutput {
    ebb::run(&["lint".to_owned(), "-".to_owned()], manifest)
}

/// Returns keys and values as YAML, with the values in quotes.
fn yaml(pairs: &[(String, &str)], indent: &str) -> String {
    pairs
        .iter()
        .map(|(key, value)| format!("{indent}{key}: {value:?}\n"))
        .collect()
}

fn config_map(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), *value))
        .collect();
    let data = yaml(&pairs, "  ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-autoscaler\ndata:\n{data}---\n"
    )
}

pub(crate) fn check_annotations(row: &Row) {
    let given = row.annotations();
    for (head, name) in [
        ("apiVersion: apps/v1\nkind: Deployment", "Deployment/shop"),
        (
            "apiVersion: serving.knative.dev/v1\nkind: Service",
            "Service/shop",
        ),
    ] {
        let annotations = yaml(&given, "        ");
        let mut manifest = format!(
            "{head}\nmetadata:\n  name: shop\nspec:\n  template:\n    metadata:\n      annotations:\n{annotations}"
        );
        if !row.config.is_empty() {
            manifest.insert_str(0, &config_map(&pairs(&row.config)));
        }
        let said = lint(&manifest);
        let lines: Vec<_> = said
            .stdout
            .lines()
            .filter(|line| line.contains(name))
            .collect();
        if row.expected == "ok" {
            assert_eq!(lines, [""; 0]);
            assert_eq!(said.code, 0);
            continue;
        }
        assert_eq!(said.code, 1);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (key, value) = given
            .iter()
            .find(|(key, _)| lines[0].starts_with(&format!("stdin: {name}: {key}: ")))
            .unwrap_or_else(|| panic!("names no key: {}", lines[0]));
        assert!(
            lines[0].contains(value) && lines[0].contains(&row.expected),
            "{key}: {}",
            lines[0]
        );
    }
}

pub(crate) fn check_config(row: &Row) {
    assert_eq!(row.input, "parse config map");
    let given = pairs(&row.config);
    let said = lint(&config_map(&given));
    match row.expected.as_str() {
        "ok" | "true (any case)" => assert_eq!((said.code, said.stdout.as_str()), (0, "")),
        "error" | "error (must be > 1.0)" => {
            assert_eq!(
                (said.code, said.stdout.lines().count()),
                (1, 1),
                "{}",
                said.stdout
            );
            let (key, value) = given[0];
            assert!(
                said.stdout
                    .starts_with("stdin: ConfigMap/config-autoscaler: "),
                "{}",
                said.stdout
            );
            assert!(
                said.stdout.contains(key) && said.stdout.contains(value),
                "{}",
                said.stdout
            );
        }
        other => {
            // The expected target is this fraction of 100, the default target.
            let fraction: f64 = other.strip_prefix("fraction ").unwrap().parse().unwrap();
            let mut simulation = Simulation::default();
            for (key, value) in given {
                simulation.config(key, value);
            }
            let lines = simulation
                .option("--summary", "json")
                .trace("t,concurrency\n0,1\n");
            let target = lines.last().unwrap()["summary"]["settings"]["target"]
                .as_f64()
                .unwrap();
            assert!((target - fraction * 100.0).abs() < 1e-9, "{target}");
        }
    }
}
