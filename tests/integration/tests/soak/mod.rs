//! The soak: ordinary traffic of 200 connections to several servers, one unusual message in a hundred, and restarts of
//! the servers and of the counting process. At quiet points, the counts of Ebb are compared with those of the clients
//! and with the servers' logs.
//!
//! `EBB_TEST_SOAK_MINUTES` is the length of the load, 20 seconds by default. `EBB_TEST_SOAK_SEED` begins the generator
//! of random numbers that chooses the operations of each connection and the restarts. The timing of a run is not
//! repeatable, so the same seed leads to the same messages, but not to the same interleaving.
//!
//! Which way it errs: towards a failure. A request is uncertain only if a client saw its connection end without a
//! response while its server was restarted, if the server is HAProxy (see `pod::PLANS`), or if the client itself gave
//! up; all other numbers must be equal.

mod ledger;
mod log;
mod pod;
mod random;
mod restart;
mod tally;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ebb_fixtures::{Case, Need, TestCgroup, note};

use crate::pins::keeper::{Keeper, Line, SOON, with_bpffs};
use ledger::Ledger;
use pod::Pod;
use random::Random;
use restart::Restarts;

const CASES: &[Case] = &[Case::new(
    "soak::ordinary_traffic_and_restarts",
    &[
        Need::Ebb,
        Need::Mounts,
        Need::Tool("python3"),
        Need::Tool("nginx"),
        Need::Tool("haproxy"),
        Need::Tool("node"),
        Need::Tool("openssl"),
        Need::Python("gunicorn"),
        Need::Python("uvicorn, httptools"),
    ],
    || with_bpffs(soak),
)];

pub(crate) fn cases() -> Vec<Case> {
    CASES.to_vec()
}

/// Length of the load without `EBB_TEST_SOAK_MINUTES`: long enough for each kind of restart.
const SHORT: Duration = Duration::from_secs(20);
/// Time between two quiet points in a short run and in a long one.
const PERIOD: Duration = Duration::from_secs(5);
const LONG_PERIOD: Duration = Duration::from_secs(40);
/// Every so many periods, no server is restarted, so that all numbers must be exactly equal.
const CALM: u32 = 3;

/// More requests or connections than there can be at a time. A counter that has passed below zero shows a larger one.
const IMPOSSIBLE: u64 = 10_000;

/// Returns the number in an environment variable, or `None` if the variable is not set.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{name}={text:?} is not a number")))
}

/// The counting process, which is replaced many times.
struct Agent<'a> {
    pins: &'a Path,
    keeper: Option<Keeper>,
    restarts: u32,
}

impl Agent<'_> {
    fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("a counting process")
    }

    /// Kills the counting process and starts another. Every second one pretends to be of another build, so that it
    /// replaces the kernel programs.
    fn restart(&mut self, pods: &[Pod<'_>]) {
        if let Some(keeper) = self.keeper.take() {
            keeper.kill();
        }
        self.restarts += 1;
        let build = format!("build{}", self.restarts / 2);
        let cgroups = pods.iter().map(Pod::cgroup);
        let keeper = Keeper::start_all(self.pins, cgroups, &["--build", &build]);
        assert_eq!(keeper.first().adopted, pods.len(), "cgroups adopted");
        self.keeper = Some(keeper);
    }

    /// Waits until `then`. Meanwhile, no number may be impossible.
    fn watch_until(&mut self, then: Instant) {
        let within = then.saturating_duration_since(Instant::now()) + SOON;
        self.keeper().until_line("the next line", within, |line| {
            for reading in &line.readings {
                let numbers = [reading.in_flight, reading.connections, reading.opaque];
                assert!(
                    numbers.iter().all(|number| *number < IMPOSSIBLE),
                    "{reading:?}"
                );
            }
            Instant::now() >= then
        });
    }

    /// Returns a line in which no request is in flight, except those that the clients hold; or the last line if there
    /// is no such line.
    fn quiet_line(&mut self, pods: &[Pod<'_>]) -> Line {
        let deadline = Instant::now() + SOON;
        loop {
            let line = self.keeper().until_line("the next line", SOON, |_| true);
            let quiet = pods.iter().zip(&line.readings).all(|(pod, reading)| {
                reading.in_flight == pod.tally().held
                    && reading.opaque == pod.tally().held
                    && reading.connections <= pod.tally().open
            });
            if quiet || Instant::now() > deadline {
                return line;
            }
        }
    }
}

fn soak(pins: &Path) {
    let minutes: Option<f64> = setting("EBB_TEST_SOAK_MINUTES");
    let length = minutes.map_or(SHORT, |minutes| Duration::from_secs_f64(60.0 * minutes));
    let period = if length > SHORT * 3 {
        LONG_PERIOD
    } else {
        PERIOD
    };
    let seed = setting("EBB_TEST_SOAK_SEED").unwrap_or(17);
    eprintln!("soak: seed {seed}, {length:?}");

    let root = TestCgroup::new();
    let cgroups = pod::cgroups(&root);
    let mut pods = pod::start(&cgroups, seed);
    let keeper = Keeper::start_all(pins, pods.iter().map(Pod::cgroup), &["--build", "build0"]);
    let mut ledger = Ledger::new(seed, &mut pods, keeper.first());
    let mut agent = Agent {
        pins,
        keeper: Some(keeper),
        restarts: 0,
    };
    let mut random = Random::new(seed);
    let mut restarts = Restarts::new(&pods, &mut random);

    let ends = Instant::now() + length;
    let mut number = 0;
    while Instant::now() < ends {
        number += 1;
        pod::command(&mut pods, "go");
        // The restarts of a period are in its first three quarters, so that the servers are up again at its end.
        let begin = Instant::now();
        let moments = random.moments::<3>(period * 3 / 4);
        let calm = number % CALM == 0;
        for (index, moment) in moments.into_iter().enumerate() {
            agent.watch_until(begin + moment);
            match index {
                1 => agent.restart(&pods),
                _ if calm => {}
                _ => restarts.next(&mut pods),
            }
        }
        agent.watch_until(begin + period);
        pod::command(&mut pods, "pause");
        let line = agent.quiet_line(&pods);
        let later = agent.keeper().until_line("the next line", SOON, |_| true);
        ledger.close_period(&mut pods, &line, &later);
    }

    // TLS is the only opaque traffic that stays opaque while its connection is idle, so it is closed last.
    for pod in pods.iter_mut().filter(|pod| pod.tally().held == 0) {
        pod.command("close");
    }
    let line = agent.quiet_line(&pods);
    ledger.ends(&pods, &line);
    pod::command(&mut pods, "close");
    let line = agent.quiet_line(&pods);
    let later = agent.keeper().until_line("the next line", SOON, |_| true);
    ledger.close_period(&mut pods, &line, &later);
    ledger.ends(&pods, &line);

    let events: BTreeMap<_, _> = line
        .events
        .iter()
        .filter(|(_, count)| **count > 0)
        .collect();
    note(format!(
        "soak of {length:?}, seed {seed}: {number} quiet points, {} restarts of servers, {} of the counting process; \
         events {events:?}",
        restarts.done(),
        agent.restarts
    ));
    ledger.print(&pods);
}
