//! A model check: random facts, reports, stalls, changes of leader and answers, and what must hold after each step.
//!
//! The model knows what really is (`world.rs`) and what it has told the engine, and judges every order by that
//! (`check.rs`). Bias: rather strict than realistic; whatever a cluster, a tenant or a bad day can do may happen at any
//! step. Each run is told by its seed. Failure mode: a violation prints the seed, the step and the last events.
//!
//! `EBB_TEST_FULL=1` takes ten million steps; otherwise it is a hundredth of that.

mod check;
mod door;
mod world;

use std::time::Duration;

use ebb_autoscaler_core::{Config, Timestamp};

use self::world::World;

/// Steps of one world before another one begins.
const STEPS: u64 = 2_000;
const ALWAYS: u64 = 100_000;
const FULL: u64 = 10_000_000;

/// Seeds that found something once.
const KEPT: &[u64] = &[
    // Replicas that somebody raised within the first stable window were lowered again before it was over.
    755, // A workload that somebody brought up from zero was lowered at once.
    2002,
];

/// SplitMix64, after Steele, Lea and Flood (OOPSLA 2014): a few lines, and the same numbers for ever.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Whether one of `of` chances came true.
    fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// Settings with the shortest windows, so that much happens in few steps.
fn config() -> Config {
    let pairs = [
        ("stable-window", "6s"),
        ("scale-to-zero-grace-period", "6s"),
    ];
    Config::from_map(pairs).expect("good settings")
}

/// Orders that were judged in a run, those of them that shrink something, and those to zero.
fn run(seed: u64, steps: u64) -> [u64; 3] {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.settle();
    [world.orders_judged, world.shrinking, world.to_zero]
}

#[test]
fn nothing_shrinks_on_what_is_not_known() {
    for &seed in KEPT {
        run(seed, STEPS);
    }
    let all = match std::env::var_os("EBB_TEST_FULL") {
        Some(_) => FULL,
        None => ALWAYS,
    };
    let mut sums = [0; 3];
    for seed in 0..all / STEPS {
        for (sum, of_run) in sums.iter_mut().zip(run(seed, STEPS)) {
            *sum += of_run;
        }
    }
    let [judged, shrinking, to_zero] = sums;
    println!("{all} steps, {judged} orders, {shrinking} shrink a workload, {to_zero} to zero");
    assert!(
        shrinking > all / 10_000,
        "a model in which nothing shrinks shows nothing"
    );
}

/// A time of the model: far from 1970, so that nothing underflows.
fn start() -> Timestamp {
    Timestamp::new(Duration::from_millis(1_000_000_000))
}
