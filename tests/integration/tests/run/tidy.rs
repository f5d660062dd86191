//! Nothing remains after a run, however it ends; and concurrent runs do not disturb each other.

use std::time::Duration;

use ebb_fixtures::client::Client;
use ebb_fixtures::run::{Run, SOON};
use ebb_fixtures::{Case, Need, Signal, Wire, dead_runs, eventually};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "run::interrupt_finishes_requests_and_leaves_nothing",
        &[Need::Ebb],
        || {
            ends_well(Signal::SIGINT);
        },
    ),
    Case::beside(
        "run::terminate_finishes_requests_and_leaves_nothing",
        &[Need::Ebb],
        || {
            ends_well(Signal::SIGTERM);
        },
    ),
    Case::new(
        "run::killed_run_is_cleaned_up_by_the_next",
        &[Need::Ebb],
        killed,
    ),
    Case::new(
        "run::two_runs_do_not_disturb_each_other",
        &[Need::Ebb, Need::Tool("hey")],
        side_by_side,
    ),
];

/// Starts a run with a minimum of `number` replicas, and waits until all are ready.
fn with_replicas(number: &str) -> Run {
    let mut run = Run::sample(&["--min-scale", number]);
    let wanted: u64 = number.parse().expect("a number");
    run.await_decision("its replicas", SOON, |decision| decision.ready == wanted);
    run
}

fn ends_well(signal: Signal) {
    let mut run = with_replicas("2");
    let remains = run.remains();
    assert_eq!(remains.replicas(), 2);
    assert!(
        remains.programs() > 0,
        "the loaded programs of `ebb run` must be listed"
    );
    let mut wire = Wire::connect(run.address());
    wire.get("/?sleep=1500", "");
    // When `ebb run` has counted the request, the request is certainly in flight.
    run.await_decision("the request in flight", SOON, |decision| {
        decision.requests >= 1
    });
    run.signal(signal);
    assert_eq!(
        wire.response(),
        200,
        "a request in flight must be answered before `ebb run` ends"
    );
    let end = run.wait();
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    remains.assert_gone();
}

fn killed() {
    let mut run = with_replicas("2");
    let remains = run.remains();
    run.signal(Signal::SIGKILL);
    run.wait();
    // The next run removes what the killed run left, before it opens its port.
    let next = with_replicas("1");
    remains.assert_gone();
    next.finish();
    assert_eq!(dead_runs(), Vec::<String>::new());
}

fn side_by_side() {
    let mut busy = Run::sample(&["--target", "1"]);
    let mut idle = with_replicas("1");
    let alive = idle.remains();
    let load = Client::hey_for(busy.address(), "/?sleep=50", Duration::from_secs(4), 6);
    busy.await_decision("replicas for the load", SOON, |decision| {
        decision.ready >= 3
    });
    load.finish_hey().assert_all_ok();
    for decision in idle.decisions() {
        assert_eq!(
            (decision.replicas, decision.requests),
            (1, 0),
            "{decision:?}"
        );
    }
    // The run `busy` ends, and a third run starts, which cleans up what earlier runs left. Neither affects the run
    // `idle`, which continues.
    busy.finish();
    with_replicas("1").finish();
    alive.assert_there();
    let mut wire = Wire::connect(idle.address());
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    idle.await_decision("its request counted", SOON, |decision| {
        decision.requests == 1
    });
    drop(wire);
    idle.finish();
    eventually("nothing left", SOON, || {
        dead_runs().is_empty().then_some(())
    });
}
