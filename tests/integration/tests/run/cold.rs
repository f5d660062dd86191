//! The first request at zero replicas: it is answered, and with little added delay.

use ebb_fixtures::run::{Event, Run, SOON};
use ebb_fixtures::{Case, Need, Wire, note};

pub(super) const CASES: &[Case] = &[Case::new(
    "run::first_request_at_zero_is_answered_within_30_ms_of_the_replica",
    &[Need::Ebb],
    first_request,
)];

/// The number of cold starts. The promise is about the median of their delays.
const STARTS: usize = 10;
const MOST_ADDED_MS: f64 = 30.0;

fn first_request() {
    let mut added: Vec<f64> = Vec::new();
    let mut waited = Vec::new();
    for _ in 0..STARTS {
        let mut run = Run::sample(&["--target", "10"]);
        // `ebb run` first tries the command with one replica. Waits until this trial replica has ended.
        run.await_event(
            "the trial replica of `ebb run` has ended",
            SOON,
            |event| match event {
                Event::Replica(replica) => (replica.state == "stopped").then_some(()),
                _ => None,
            },
        );
        assert_eq!(
            run.remains().replicas(),
            0,
            "no replica may run before the first request"
        );
        let mut wire = Wire::connect(run.address());
        wire.get("/", "");
        assert_eq!(wire.response(), 200);
        let cold = run.await_event("a cold start", SOON, |event| match event {
            Event::ColdStart(cold) => Some(cold.clone()),
            _ => None,
        });
        let sum = cold.waited_ms - cold.start_ms;
        assert!((sum - cold.added_ms).abs() < 1.0, "{cold:?} adds up");
        added.push(cold.added_ms);
        waited.push(cold.waited_ms);
        drop(wire);
        run.finish();
    }
    added.sort_by(f64::total_cmp);
    waited.sort_by(f64::total_cmp);
    let median = (added[STARTS / 2 - 1] + added[STARTS / 2]) / 2.0;
    note(format!(
        "first request at zero replicas: {:.1} to {:.1} ms added, median {median:.1} ms; \
         {:.1} to {:.1} ms waited in total",
        added[0],
        added[STARTS - 1],
        waited[0],
        waited[STARTS - 1],
    ));
    assert!(median < MOST_ADDED_MS, "added: {added:.1?} ms");
}
