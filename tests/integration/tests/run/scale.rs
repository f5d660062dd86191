//! Scaling under real load: to the number of replicas that the metrics require, and without a failed response.
//!
//! Unless a test runs with the promised windows, the stable window is 6 s, the shortest possible (default 60 s), and
//! the scale-to-zero grace period is 1 s (default 30 s). The decisions are the same, only earlier.

use std::io::Write;
use std::time::Duration;

use ebb_fixtures::client::Client;
use ebb_fixtures::run::{Decision, Run, SOON};
use ebb_fixtures::{Case, Need, full, note};

const NEEDS: &[Need] = &[Need::Ebb, Need::Tool("hey")];

pub(super) const CASES: &[Case] = &[
    Case::new(
        "run::fifty_clients_at_target_10_make_5_replicas",
        NEEDS,
        five_replicas,
    ),
    Case::new(
        "run::min_1_max_3_makes_3_copies_and_leaves_1",
        NEEDS,
        min_and_max,
    ),
    Case::new("run::idle_goes_to_zero_and_wakes_again", NEEDS, to_zero),
    Case::new("run::every_response_is_200_while_it_scales", NEEDS, all_200),
];

/// With a utilization of 100 %, each replica gets as many requests in flight as the target, not 70 % of it.
const OPTIONS: [&str; 4] = [
    "--target",
    "10",
    "--annotation",
    "autoscaling.knative.dev/target-utilization-percentage=100",
];
/// Time limit for scaling down with the short windows: window, grace period, and several scale-down steps.
const COMES_DOWN_WITHIN: Duration = Duration::from_secs(40);
/// Time limit for scaling down with the default windows.
const COMES_DOWN_BY_DEFAULT_WITHIN: Duration = Duration::from_secs(150);

fn quick(options: &[&str]) -> Run {
    let window = ["--annotation", "autoscaling.knative.dev/window=6s"];
    // `ebb run` reads the file at its start, so the file may be deleted afterwards.
    let mut config = tempfile::Builder::new()
        .suffix(".yaml")
        .tempfile()
        .expect("a file");
    writeln!(config, "scale-to-zero-grace-period: 1s").expect("written");
    let path = config.path().to_str().expect("a path in UTF-8");
    Run::sample(&[&OPTIONS[..], &window, &["--config", path], options].concat())
}

/// Starts a run: with the default windows in full runs of the tests, otherwise with the short windows.
fn as_promised(options: &[&str]) -> Run {
    if full() {
        Run::sample(&[&OPTIONS[..], options].concat())
    } else {
        quick(options)
    }
}

/// Reads decisions until the load ends. Returns the maximum number of replicas, existing or desired.
fn follow(run: &mut Run, load: &mut Client) -> u64 {
    let mut most = 0;
    while load.is_running() {
        let decision = run.await_decision("the next decision", SOON, |_| true);
        most = most.max(decision.replicas).max(decision.desired);
    }
    most
}

fn five_replicas() {
    let mut run = as_promised(&[]);
    let time = Duration::from_secs(if full() { 30 } else { 12 });
    let mut load = Client::hey_for(run.address(), "/?sleep=100", time, 50);
    let five = run.await_decision("5 ready replicas", SOON, |decision| decision.ready == 5);
    let most = follow(&mut run, &mut load);
    assert_eq!(most, 5, "replicas at any time");
    let answers = load.finish_hey();
    answers.assert_all_ok();
    note(format!(
        "50 clients with requests of 100 ms, target 10: 5 replicas after {:.1} s; {answers}",
        five.t
    ));
    run.finish();
}

fn min_and_max() {
    let mut run = as_promised(&["--min-scale", "1", "--max-scale", "3"]);
    let time = Duration::from_secs(if full() { 30 } else { 8 });
    let mut load = Client::hey_for(run.address(), "/?sleep=100", time, 50);
    run.await_decision("3 ready replicas", SOON, |decision| decision.ready == 3);
    let most = follow(&mut run, &mut load);
    assert_eq!(most, 3, "replicas at any time");
    load.finish_hey().assert_all_ok();
    let down_within = if full() {
        COMES_DOWN_BY_DEFAULT_WITHIN
    } else {
        COMES_DOWN_WITHIN
    };
    run.await_decision("1 replica left", down_within, |decision| {
        decision.replicas == 1
    });
    // Reads decisions for 8 s, longer than the window (6 s) and the grace period (1 s): the last replica must stay.
    let until = last(&mut run).t + 8.0;
    let stays = run.await_decision("decisions go on", SOON, |decision| {
        assert_eq!(decision.replicas, 1, "min-scale is 1");
        decision.t > until
    });
    assert_eq!(stays.desired, 1);
    run.finish();
}

fn to_zero() {
    let mut run = quick(&[]);
    for _ in 0..2 {
        let load = Client::hey_requests(run.address(), "/?sleep=20", 100, 10);
        load.finish_hey().assert_all_ok();
        run.await_decision("no replica", COMES_DOWN_WITHIN, |decision| {
            decision.replicas == 0
        });
    }
    run.finish();
}

/// Puts a steady load on the run, and a second load that begins and ends during it: the run scales up for both loads,
/// and down again during the steady load.
fn all_200() {
    // 50 clients with requests of 20 ms send at most 2 500 requests per second. So 50 000 requests take at least 20 s,
    // and 100 000 at least 40 s.
    let requests = if full() { 100_000 } else { 50_000 };
    let mut run = quick(&[]);
    let steady = Client::hey_requests(run.address(), "/?sleep=20", requests, 50);
    run.await_decision("ready replicas for the steady load", SOON, |decision| {
        decision.ready >= 2
    });
    let pulse = Client::hey_for(run.address(), "/?sleep=50", Duration::from_secs(3), 70);
    let up = run.await_decision("replicas for both", SOON, |decision| decision.ready >= 8);
    pulse.finish_hey().assert_all_ok();
    let down = run.await_decision("fewer replicas", COMES_DOWN_WITHIN, |decision| {
        decision.replicas <= up.ready - 2
    });
    let answers = steady.finish_hey();
    answers.assert_all_ok();
    assert_eq!(answers.ok(), requests);
    note(format!(
        "{answers}, while the number of replicas rose to {} and fell to {}",
        up.ready, down.replicas
    ));
    run.finish();
}

/// Returns the latest decision that has arrived, or waits for the next one.
fn last(run: &mut Run) -> Decision {
    match run.decisions().pop() {
        Some(decision) => decision,
        None => run.await_decision("the next decision", SOON, |_| true),
    }
}
