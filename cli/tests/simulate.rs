//! Tests `ebb simulate` as a program: exit codes, stdout, stderr, and the run time for a trace of one day.

#![expect(
    clippy::unwrap_used,
    reason = "tests panic, so that the backtrace stays"
)]

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

use tempfile::TempDir;

fn ebb(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ebb"))
        .arg("simulate")
        .args(arguments)
        .output()
        .unwrap()
}

fn file(directory: &TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = directory.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Returns a trace of one day in rows of one second, with a peak in the middle.
fn day() -> String {
    let mut text = "t,concurrency,rps\n".to_owned();
    for t in 0..86_400_u32 {
        let load = 43_200 - t.abs_diff(43_200);
        writeln!(text, "{t},{},{}", load / 100, load % 97).unwrap();
    }
    text
}

#[test]
fn decisions_go_to_stdout_and_the_summary_to_stderr() {
    let directory = TempDir::new().unwrap();
    let trace = file(&directory, "a.csv", "t,concurrency\n0,50\n1,50\n2,50\n");
    let output = ebb(&[
        "--trace",
        &trace,
        "--annotation",
        "autoscaling.knative.dev/target=10",
    ]);
    assert_eq!(
        stdout(&output),
        "t,ready,stable,panic,desired,panic_mode,excess_burst_capacity\n\
         0,0,50,50,8,true,-261\n\
         2,0,50,50,8,true,-261\n"
    );
    assert!(
        stderr(&output).starts_with("3 s of traffic, 2 decisions\n"),
        "{}",
        stderr(&output)
    );

    let output = ebb(&["--trace", &trace, "--quiet", "--summary", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(summary["summary"]["pod_seconds"], 3.0);
    assert_eq!(stderr(&output), "");
}

#[test]
fn two_settings_are_told_apart() {
    let directory = TempDir::new().unwrap();
    let trace = file(&directory, "a.csv", "t,concurrency\n0,50\n");
    let config = file(
        &directory,
        "b.json",
        "{\"container-concurrency-target-default\": 10}",
    );
    let output = ebb(&[
        "--trace",
        &trace,
        "--compare-config",
        &config,
        "--summary",
        "json",
    ]);
    let text = stdout(&output);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "run,t,ready,stable,panic,desired,panic_mode,excess_burst_capacity"
    );
    assert_eq!(lines[1], "first,0,0,50,50,1,false,-261");
    assert_eq!(lines[2], "second,0,0,50,50,8,true,-261");
    let summary: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!(summary["compared"]["settings"]["target"], 7.0);
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_decided() {
    let directory = TempDir::new().unwrap();
    let name = |rows: &str| file(&directory, "bad.csv", &format!("t,concurrency\n{rows}"));
    for (rows, part) in [
        (
            "0,1\n1,x\n",
            "bad.csv: row 2 (line 3): concurrency: invalid value \"x\"",
        ),
        (
            "0,1\n2,1\n",
            "bad.csv: row 2 (line 3): t=2: 1 s missing after t=0",
        ),
        ("1,1\n0,1\n", "bad.csv: row 2 (line 3): t=0: out of order"),
    ] {
        let output = ebb(&["--trace", &name(rows)]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(stdout(&output), "");
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
    let gap = name("0,1\n3,1\n");
    assert_eq!(
        ebb(&["--trace", &gap, "--fill-gaps"]).status.code(),
        Some(0)
    );

    let config = file(
        &directory,
        "c.yaml",
        "stable-window: 1s\nmax-scale-up-rate: NaN\n",
    );
    let target = "autoscaling.knative.dev/target=-1";
    let output = ebb(&["--trace", &gap, "--config", &config, "--annotation", target]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().count(), 3, "{}", stderr(&output));
}

#[test]
fn wrong_usage_is_exit_2() {
    for arguments in [
        &[][..],
        &["--trace", "a", "--steps", "b"],
        &["--trace", "a", "--annotation", "target=10"],
        &["--trace", "a", "--plot", "a.gif"],
        &["--steps", "a", "--plot", "a.svg"],
        &["--trace", "a", "--pod-start", "5"],
    ] {
        assert_eq!(ebb(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_day_takes_less_than_two_seconds_and_comes_out_the_same() {
    let directory = TempDir::new().unwrap();
    let trace = file(&directory, "day.csv", &day());
    let picture = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (svg, png) = (picture("day.svg"), picture("day.png"));
    let mut outputs = [&svg, &png].map(|picture| {
        let begin = Instant::now();
        let output = ebb(&["--trace", &trace, "--json", "--plot", picture]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (stdout(&output), begin.elapsed())
    });
    outputs.sort_by_key(|(_, took)| *took);
    let [(first, took), (second, _)] = outputs;
    assert_eq!(first.lines().count(), 43_200);
    assert!(first == second, "two replays differ");
    // `took` is the time of the faster of two runs, to reduce the effect of other programs. A run normally takes a
    // tenth of the limit.
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
    assert!(fs::read(png).unwrap().starts_with(b"\x89PNG"));
}
