//! The time from the start of a burst to the write of the new scale.

use std::thread;
use std::time::Duration;

use ebb_e2e::SOON;
use ebb_fixtures::{Case, eventually, note};

use crate::world::{FAST, NODES, TEN, shared};

pub(crate) const CASES: &[Case] = &[Case::new(
    "burst::to_the_written_scale",
    NODES,
    to_the_written_scale,
)];

/// The promised maximum of the median time from the start of a burst to the write of the new scale.
const WITHIN: Duration = Duration::from_millis(500);
/// The number of bursts, each on a separate idle workload.
const BURSTS: usize = 20;
/// Concurrent requests of one burst.
const AT_ONCE: usize = 50;

/// Measures the time from the first of 50 concurrent requests to the patch of the scale.
fn to_the_written_scale() {
    let world = shared();
    let apps: Vec<_> = (0..BURSTS)
        .map(|number| world.deploy("burst", &format!("web-{number}"), 1, &[FAST, TEN]))
        .collect();
    let mut times: Vec<_> = apps
        .into_iter()
        .map(|app| {
            app.await_serving(1);
            eventually("the idle workload has one ready replica", SOON, || {
                (app.view()["ready_replicas"] == 1).then_some(())
            });
            let traffic = app.traffic(AT_ONCE);
            let start = traffic.set(AT_ONCE);
            while app.replicas() < 2 {
                assert!(
                    start.elapsed() < SOON,
                    "the burst has not raised the replicas: {}",
                    app.view()
                );
                thread::sleep(Duration::from_millis(2));
            }
            let took = start.elapsed();
            traffic.set(0);
            traffic.await_all_answered();
            traffic.assert_all_ok();
            took
        })
        .collect();
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    note(format!(
        "time from the start of a burst to the write of the scale: median {median:?}, maximum {worst:?}, {} bursts",
        times.len()
    ));
    assert!(median < WITHIN, "{times:?}");
}
