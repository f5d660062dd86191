//! Checks of the Prometheus rule file, without running programs.

use std::collections::BTreeSet;
use std::process::Command;

use ebb_e2e::manifests::{file, objects};
use serde_json::Value;

const RULES: &str = "deploy/prometheus/rules.yaml";

/// Returns all rules of the Prometheus rule file.
pub(super) fn rules() -> Vec<Value> {
    let groups = objects(RULES).remove(0)["groups"].take();
    let groups = groups.as_array().expect("groups").iter();
    groups
        .flat_map(|group| group["rules"].as_array().expect("rules").clone())
        .collect()
}

/// Returns the text of the rule file without `for`, so that alerts fire immediately and not after minutes.
pub(super) fn at_once() -> String {
    let text = std::fs::read_to_string(file(RULES)).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("        for: "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the names of all alerts.
pub(super) fn alerts() -> BTreeSet<String> {
    let rules = rules();
    let names = rules.iter().filter_map(|rule| rule["alert"].as_str());
    names.map(str::to_owned).collect()
}

/// Checks with promtool that each alert fires, and not too early. Checks that each alert has a runbook.
pub(super) fn fire() {
    for arguments in [
        ["check", "rules", RULES],
        ["test", "rules", "rules_test.yaml"],
    ] {
        let folder = match arguments[0] {
            "check" => file(""),
            _ => file("deploy/prometheus"),
        };
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&said)
        );
    }
    let tests = objects("deploy/prometheus/rules_test.yaml").remove(0);
    let cases = tests["tests"].as_array().unwrap().iter();
    let cases = cases.flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten());
    let fired: BTreeSet<_> = cases
        .filter(|case| !case["exp_alerts"].as_array().unwrap().is_empty())
        .map(|case| case["alertname"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        fired,
        alerts(),
        "the cases for promtool must make every alert fire"
    );

    let runbooks = std::fs::read_to_string(file("docs/runbooks.md")).unwrap();
    let headings = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    let headings: BTreeSet<_> = headings.map(str::to_owned).collect();
    assert_eq!(
        headings,
        alerts(),
        "docs/runbooks.md must have a section for each alert, and no other section"
    );
    for rule in rules().iter().filter(|rule| rule["alert"].is_string()) {
        let name = rule["alert"].as_str().unwrap();
        let runbook = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], runbook);
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].is_string(), "{name}: {text}");
        }
        assert!(rule["labels"]["severity"].is_string(), "{name}: severity");
    }
}

/// Checks that the rule file for Prometheus and the object for the Prometheus Operator have the same rules.
pub(super) fn same() {
    let source = objects(RULES).remove(0);
    let object = objects("deploy/components/prometheus-operator/rules.yaml").remove(0);
    assert_eq!(object["kind"], "PrometheusRule");
    assert_eq!(
        object["spec"]["groups"], source["groups"],
        "run cargo xtask manifests"
    );
}
