//! Benchmarks of decisions. The goal is 1 000 000 decisions per second on one core, i.e. 1 µs for each.
//!
//! Run with `cargo bench -p ebb-autoscaler-core`. The windows are full and the load varies, so that panic mode begins
//! and ends.

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

/// Returns a workload with default windows and ten minutes of history, and the time of its last sample.
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

/// Makes one complete decision, from averaging the windows to the resulting number of pods. The time does not advance,
/// as in a controller that decides for many workloads within one second.
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

/// Records one sample and makes one decision for each simulated second.
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

/// Records one report of an agent. In this benchmark, the agent reports every 250 ms.
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

/// Makes a decision from averages that the benchmark passes, so no window is read.
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
