//! Replicas whose listening socket was created outside their cgroup: `ebb run` names the port and the cgroup.

use ebb_fixtures::run::{Run, SOON};
use ebb_fixtures::{Case, Need, Signal, TestCgroup, eventually, python};

pub(super) const CASES: &[Case] = &[
    Case::beside("run::k13_socket_created_outside", PYTHON, || {
        warns("moved", " listens with a socket that was created in ");
    }),
    Case::beside("run::k13_served_by_a_process_outside", PYTHON, || {
        warns("served", " its listening socket was created in ");
    }),
    Case::beside("run::k13_ordinary_replicas", &[Need::Ebb], ordinary),
];

const PYTHON: &[Need] = &[Need::Ebb, Need::Python("http.server")];

/// The part of the message that all warnings have.
const WARNING: &str = "are not counted";

/// Runs `outside.py`, and waits for the warning.
fn warns(how: &str, reason: &str) {
    let other = TestCgroup::new();
    let path = other.path().to_str().expect("a path in UTF-8");
    let python = python("http.server").expect("a Python");
    let python = python.to_str().expect("a path in UTF-8");
    let script = include_str!("outside.py");
    let mut run = Run::start(
        &["--min-scale", "2"],
        &[python, "-c", script, "{port}", path, how],
    );
    run.await_decision("its replicas", SOON, |decision| decision.ready == 2);
    let expected = format!("{reason}another cgroup, {path}; COMMAND must open the port itself");
    eventually("the warning", SOON, || {
        run.stderr().contains(&expected).then_some(())
    });
    run.signal(Signal::SIGINT);
    let end = run.wait();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    // Each replica has a port of its own, and all ports have the same reason.
    assert_eq!(end.stderr.matches(WARNING).count(), 1, "{}", end.stderr);
}

fn ordinary() {
    let mut run = Run::sample(&["--min-scale", "2"]);
    run.await_decision("its replicas", SOON, |decision| decision.ready == 2);
    run.signal(Signal::SIGINT);
    let end = run.wait();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    assert!(!end.stderr.contains(WARNING), "{}", end.stderr);
}
