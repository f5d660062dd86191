//! What a decision costs: the mark is 1 000 000 a second on one core, which is 1 µs each.
//!
//! `cargo bench -p ebb-autoscaler-core`. The windows are full and the load moves, so that panics
//! come and go.

use std::time::Duration;

use divan::{Bencher, counter::ItemsCount};
use ebb_autoscaler_core::{
    Aggregation, Class, Facts, Feed, Sample, Settings, Timestamp, Workload,
    decision::{Observation, Scaler},
};

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn main() {
    divan::main();
}

/// A workload at default windows with ten minutes of history, and the time it stands at.
fn warm(settings: Settings) -> (Workload, Timestamp) {
    let mut workload = Workload::new(START, settings, 1);
    let mut now = START;
    for second in 0..600 {
        now = START + Duration::from_secs(second);
        let load = f64::from(u32::try_from(second).unwrap_or(0) % 97);
        let _ = workload.record(now, &Sample::new(load, load));
        let _ = workload.decide(now, &Facts::local(3, 3));
    }
    (workload, now)
}

/// A decision from windows to order, time standing still within a second as it does for a
/// controller of many workloads.
#[divan::bench(args = [Aggregation::Linear, Aggregation::WeightedExponential])]
fn decide(bencher: Bencher<'_, '_>, aggregation: Aggregation) {
    let (mut workload, now) = warm(Settings {
        aggregation,
        ..Settings::default()
    });
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        divan::black_box(
            workload.decide(divan::black_box(now), &divan::black_box(Facts::local(3, 3))),
        )
    });
}

/// A sample and a decision for every second that passes.
#[divan::bench]
fn record_and_decide(bencher: Bencher<'_, '_>) {
    let (mut workload, mut now) = warm(Settings::default());
    let mut load = 0_u32;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        now = now + Duration::from_secs(1);
        load = (load + 7) % 97;
        let _ = workload.record(now, &Sample::new(load.into(), load.into()));
        divan::black_box(workload.decide(now, &Facts::local(3, 3)))
    });
}

/// What an agent's report every 250 ms costs.
#[divan::bench]
fn observe(bencher: Bencher<'_, '_>) {
    let settings = Settings {
        class: Class::Ebb,
        burst_window: Duration::from_millis(250),
        ..Settings::default()
    };
    let (mut workload, mut now) = warm(settings);
    let mut feed = Feed::starting(now);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        now = now + Duration::from_millis(250);
        divan::black_box(workload.observe(&mut feed, now, 12.0, 30.0))
    });
}

/// The decision alone, from averages.
#[divan::bench]
fn scale(bencher: Bencher<'_, '_>) {
    let settings = Settings::default();
    let mut scaler = Scaler::new(START, 1);
    let seen = Observation {
        ready: 3,
        reachable: true,
        ..Observation::default()
    };
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        divan::black_box(scaler.scale(START, divan::black_box(&settings), divan::black_box(&seen)))
    });
}
