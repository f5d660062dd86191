//! Tests `ebb lint` as a program: exit codes, stdout and stderr. Which problems it finds is tested in
//! `cli/src/lint/tests.rs`.

#![expect(
    clippy::unwrap_used,
    reason = "tests panic, so that the backtrace stays"
)]

use std::{fs, process::Command};

/// Runs `ebb lint` in a directory with `files`, tuples (name, content). Returns the exit code, stdout and stderr.
fn lint(files: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ebb"))
        .arg("lint")
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

const CONFIG: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: config-autoscaler
data:
  max-scale: \"5\"
  max-scale-limit: \"10\"
";

const SERVICE: &str = "apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: shop
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/max-scale: \"20\"
";

#[test]
fn a_config_map_in_one_file_counts_for_the_others() {
    let files = [("config.yaml", CONFIG), ("shop.yaml", SERVICE)];
    let line =
        "shop.yaml: Service/shop: autoscaling.knative.dev/max-scale: expected 1 <= 20 <= 10\n";
    let said = lint(&files, &["shop.yaml", "config.yaml"]);
    assert_eq!(said, (1, line.to_owned(), "error: 1 problem\n".to_owned()));
    assert_eq!(
        lint(&files, &["shop.yaml"]),
        (0, String::new(), String::new())
    );
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_validated() {
    let broken = "kind: Deployment\nmetadata: [\n";
    let both = format!("{CONFIG}---\n{SERVICE}");
    let files = [("broken.yaml", broken), ("both.yaml", &both)];
    let (code, stdout, stderr) = lint(&files, &["none.yaml", "broken.yaml", "both.yaml"]);
    assert_eq!(code, 1);
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines[0].starts_with("broken.yaml: line "), "{stdout}");
    assert!(
        lines[1].starts_with("both.yaml: Service/shop: "),
        "{stdout}"
    );
    assert!(stderr.starts_with("error: none.yaml: "), "{stderr}");
}

#[test]
fn no_file_is_wrong_usage() {
    assert_eq!(lint(&[], &[]).0, 2);
}
