//! The HTTP proxy of the activator in `ebb run`, together with all other parts of `ebb run`.

use ebb_fixtures::client::Client;
use ebb_fixtures::run::{Event, Run, SOON};
use ebb_fixtures::{Case, Need, Wire, full, note};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "proxy::run_a_thousand_at_once_at_zero_one_at_a_time",
        &[Need::Ebb, Need::Tool("hey"), Need::Tool("h2load")],
        burst,
    ),
    Case::new(
        "proxy::run_a_burst_at_zero_of_a_server_with_a_short_queue",
        &[Need::Ebb, Need::Tool("hey"), Need::Tool("python3")],
        short_queue,
    ),
    Case::new("proxy::run_adds_little_to_a_start", &[Need::Ebb], added),
];

/// The maximum median time, in ms, that `ebb run` adds to the start time of a replica.
const ADDED_MS: f64 = 10.0;

fn burst() {
    let run = Run::sample(&[
        "--skip-trial",
        "--max-scale",
        "1",
        "--annotation",
        "ebb.dev/hard-limit=1",
    ]);
    let answers = Client::hey_requests(run.address(), "/?sleep=1", 1_000, 1_000).finish_hey();
    answers.assert_all_ok();
    assert_eq!(answers.ok(), 1_000);
    let url = format!("http://{}/", run.address());
    let arguments = ["-n", "2000", "-c", "10", "-m", "20", &url];
    let report = Client::start("h2load", &arguments).finish();
    assert!(report.contains("2000 succeeded, 0 failed"), "{report}");
    run.finish();
}

/// Runs the README's example server, whose accept queue has room for only six connections. All 200 concurrent requests
/// must be answered.
fn short_queue() {
    let server = ["python3", "-m", "http.server", "-b", "127.0.0.1", "{port}"];
    let run = Run::start(&["--target", "10"], &server);
    let answers = Client::hey_requests(run.address(), "/", 200, 200).finish_hey();
    answers.assert_all_ok();
    assert_eq!(answers.ok(), 200);
    run.finish();
}

fn added() {
    let starts = if full() { 20 } else { 5 };
    let mut added: Vec<_> = (0..starts).map(|_| start()).collect();
    added.sort_by(f64::total_cmp);
    let median = (added[(starts - 1) / 2] + added[starts / 2]) / 2.0;
    note(format!(
        "ebb run, {starts} starts of a replica: {:.1} to {:.1} ms added to the start time, median {median:.1} ms",
        added[0],
        added[starts - 1],
    ));
    assert!(median < ADDED_MS, "{added:.1?} ms");
}

/// Returns the time, in ms, that the first request waited in addition to the start time of the replica.
fn start() -> f64 {
    let mut run = Run::sample(&["--skip-trial"]);
    let mut wire = Wire::connect(run.address());
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    let cold = run.await_event("a cold start", SOON, |event| match event {
        Event::ColdStart(cold) => Some(cold.added_ms),
        _ => None,
    });
    drop(wire);
    run.finish();
    cold
}
