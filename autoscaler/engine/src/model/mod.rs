//! A randomised model test: random facts, reports, stalls, changes of leader and answers of the API server, with
//! invariants that must hold after each step.
//!
//! The model has two states: the true state of the cluster, and the state that has been reported to the engine
//! (`world.rs`). Every order is checked against both states (`check.rs`).
//!
//! Bias: strict rather than realistic. Every event that a cluster, a tenant or a failure can cause may happen at any
//! step. The seed determines the whole run. Failure mode: a violation prints the seed, the step and the last events.
//!
//! With `EBB_TEST_FULL=1`, the test runs 10 000 000 steps; otherwise 100 000 steps.

mod check;
mod request_path;
mod world;

use std::time::Duration;

use ebb_autoscaler_core::{Config, Timestamp};

use self::world::World;

/// Number of random steps of one run of the model.
const STEPS: u64 = 2_000;
const ALWAYS: u64 = 100_000;
const FULL: u64 = 10_000_000;

/// Seeds of the model test that found an error in the past.
const KEPT: &[u64] = &[
    // Seed 755: replicas that a person raised within the first stable window were reduced before the end of this
    // window. Seed 2002: the replicas of a workload that a person scaled up from zero were reduced at once.
    755, 2002,
];

/// The random number generator SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). It needs only a few lines, and gives
/// the same sequence on every platform and with every version of Rust.
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

    /// Returns a random number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Returns true with probability 1/`of`.
    fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// Returns settings with the shortest allowed windows, so that few steps cover many decisions.
fn config() -> Config {
    let pairs = [
        ("stable-window", "6s"),
        ("scale-to-zero-grace-period", "6s"),
    ];
    Config::from_map(pairs).expect("good settings")
}

/// Runs the model with one seed. Returns three numbers of scale orders: all, those that reduce replicas, and those that
/// request zero replicas.
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
    println!("{all} steps, {judged} orders: {shrinking} reduce replicas, {to_zero} to zero");
    assert!(
        shrinking > all / 10_000,
        "too few orders reduce replicas, so this test checks too little"
    );
}

/// Returns the start time of the model: long after 1970, so that no subtraction of times underflows.
fn start() -> Timestamp {
    Timestamp::new(Duration::from_millis(1_000_000_000))
}
