//! A randomised model test: random facts, reports, stalls, changes of leader and answers, with invariants that must
//! hold after each step.
//!
//! The model knows the true state (`world.rs`) and what it has reported to the engine, and checks every order against
//! both (`check.rs`).
//!
//! Bias: strict rather than realistic. Anything that a cluster, a tenant or a failure can do may happen at any step.
//! The seed determines each run. Failure mode: a violation prints the seed, the step and the last events.
//!
//! `EBB_TEST_FULL=1` takes ten million steps; otherwise the test takes a hundredth of that.

mod check;
mod request_path;
mod world;

use std::time::Duration;

use ebb_autoscaler_core::{Config, Timestamp};

use self::world::World;

/// Steps of one world before the next one begins.
const STEPS: u64 = 2_000;
const ALWAYS: u64 = 100_000;
const FULL: u64 = 10_000_000;

/// Seeds that once found an error.
const KEPT: &[u64] = &[
    // 755: replicas that somebody raised within the first stable window were lowered before its end.
    // 2002: a workload that somebody scaled up from zero was lowered at once.
    755, 2002,
];

/// SplitMix64, after Steele, Lea and Flood (OOPSLA 2014): a few lines, with the same sequence on every platform and
/// version.
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

    /// Returns a number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Returns true with a probability of 1 in `of`.
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

/// Runs one world. Returns the number of orders, of orders that reduce replicas, and of orders to zero.
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

/// The first time of the model: far from 1970, so that nothing underflows.
fn start() -> Timestamp {
    Timestamp::new(Duration::from_millis(1_000_000_000))
}
