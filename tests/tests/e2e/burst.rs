//! How soon a burst is answered.

use std::thread;
use std::time::Duration;

use ebb_tests::cluster::SOON;
use ebb_tests::harness::{Case, full, note};

use crate::world::{FAST, TEN, shared};

pub(crate) const CASES: &[Case] = &[Case::new(
    "burst::to_the_written_scale",
    &[],
    to_the_written_scale,
)];

/// The promise, for the median.
const WITHIN: Duration = Duration::from_millis(500);

/// From the first of 50 concurrent requests to the patched scale.
fn to_the_written_scale() {
    let world = shared();
    let app = world.app("burst", "web", 1, &[FAST, TEN]);
    let traffic = app.traffic(50);
    let mut times = Vec::new();
    for _ in 0..if full() { 20 } else { 5 } {
        app.await_replicas(SOON, |replicas| replicas == 1);
        app.await_serving(1);
        // Calm: nothing of the burst before is in the windows.
        thread::sleep(Duration::from_secs(8));
        let start = traffic.set(50);
        while app.replicas() < 2 {
            assert!(
                start.elapsed() < SOON,
                "no answer to a burst: {}",
                app.view()
            );
            thread::sleep(Duration::from_millis(2));
        }
        times.push(start.elapsed());
        traffic.set(0);
    }
    traffic.assert_all_ok();
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    note(format!(
        "burst to scale write: median {median:?}, worst {worst:?} of {}",
        times.len()
    ));
    assert!(median < WITHIN, "{times:?}");
}
