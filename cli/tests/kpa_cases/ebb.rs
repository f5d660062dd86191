//! Runs the `ebb` program for tests.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::Value;

/// The exit code and the output of the program.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program with `arguments`, and with `input` on stdin.
pub(crate) fn run(arguments: &[String], input: &str) -> CommandOutput {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ebb"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A write error is ignored: the program may exit because of invalid arguments before it reads stdin.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    CommandOutput {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A builder for a run of `ebb simulate`.
#[derive(Default)]
pub(crate) struct Simulation {
    config: Vec<String>,
    arguments: Vec<String>,
}

impl Simulation {
    pub(crate) fn config(&mut self, key: &str, value: &str) -> &mut Self {
        self.config.push(format!("{key}: {value:?}"));
        self
    }

    pub(crate) fn annotation(&mut self, key: &str, value: &str) -> &mut Self {
        let group = if key.contains('/') {
            ""
        } else {
            "autoscaling.knative.dev/"
        };
        self.option("--annotation", &format!("{group}{key}={value}"))
    }

    pub(crate) fn option(&mut self, name: &str, value: &str) -> &mut Self {
        self.arguments.push(format!("{name}={value}"));
        self
    }

    /// Runs `ebb simulate --steps` on `steps` and returns the decisions, one JSON object each.
    pub(crate) fn steps(&self, steps: &str) -> Vec<Value> {
        self.run("--steps=-", steps)
    }

    /// Runs `ebb simulate --trace` on `trace` and returns the output, one JSON object per line. The last object is the
    /// summary if the option `--summary json` is set.
    pub(crate) fn trace(&self, trace: &str) -> Vec<Value> {
        self.run("--trace=-", trace)
    }

    fn run(&self, kind: &str, input: &str) -> Vec<Value> {
        let mut arguments = vec!["simulate".to_owned(), kind.to_owned(), "--json".to_owned()];
        arguments.extend(self.arguments.iter().cloned());
        let file = tempfile::NamedTempFile::new().unwrap();
        if !self.config.is_empty() {
            std::fs::write(file.path(), self.config.join("\n")).unwrap();
            arguments.push(format!("--config={}", file.path().display()));
        }
        let said = run(&arguments, input);
        assert_eq!(said.code, 0, "{}", said.stderr);
        said.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
