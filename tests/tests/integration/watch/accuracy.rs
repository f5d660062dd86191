//! Mean concurrency against the oracle: the server's own exact integral.
//!
//! The kernel sees a request earlier than the server can (it waits in the socket until the server
//! reads it), so on a loaded machine the kernel's figure is the higher one, and rightly. That is
//! noise of the machine and not of the count, hence up to three tries; each is noted.

use std::time::Duration;

use ebb_tests::harness::client::Client;
use ebb_tests::harness::server::Sample;
use ebb_tests::harness::watch::Watch;
use ebb_tests::harness::{Case, Need, TestCgroup, full, note};

const NEEDS: &[Need] = &[Need::Ebb, Need::Tool("hey")];

pub(super) const CASES: &[Case] = &[
    Case::new(
        "watch::mean_within_1_percent_of_the_oracle_at_1_client",
        NEEDS,
        || within(1),
    ),
    Case::new(
        "watch::mean_within_1_percent_of_the_oracle_at_10_clients",
        NEEDS,
        || within(10),
    ),
    Case::new(
        "watch::mean_within_1_percent_of_the_oracle_at_50_clients",
        NEEDS,
        || within(50),
    ),
    Case::new(
        "watch::mean_within_1_percent_of_the_oracle_at_200_clients",
        NEEDS,
        || within(200),
    ),
];

/// What the product promises.
const MOST_OFF: f64 = 0.01;
const TRIES: u32 = 3;

fn within(clients: u64) {
    let time = Duration::from_secs(if full() { 20 } else { 5 });
    let mut off = Vec::new();
    for _ in 0..TRIES {
        let (watched, oracle) = means(clients, time);
        off.push(watched / oracle - 1.0);
        note(format!(
            "mean at {clients} clients of 200 ms over {time:?}: {watched:.3}, oracle {oracle:.3}, {:+.2} %",
            (watched / oracle - 1.0) * 100.0
        ));
        if off.iter().any(|off| off.abs() < MOST_OFF) {
            return;
        }
    }
    panic!("off by {off:?}, allowed is {MOST_OFF}");
}

/// The mean as watched and as the oracle has it.
fn means(clients: u64, time: Duration) -> (f64, f64) {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, "250ms", &[]);
    // Longer than measured: it is ended when the measure is taken.
    let load = Client::hey_for(server.address(), "/?sleep=200", time * 4, clients);
    watch.until("requests begin", |_, line| line.requests >= clients);
    // Each reading of the oracle follows the line that bounds the measure by the same moment.
    watch.until("the interval after", |_, _| true);
    let from = server.stats();
    let watched = watch.measure(time);
    let to = server.stats();
    load.stop();
    (watched.integral / watched.time, to.mean_since(&from))
}
