//! `ebb run` scales to zero and back, while a request arrives, a replica is killed, or a replica never becomes ready.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ebb_fixtures::run::{Event, Run, SOON};
use ebb_fixtures::{Case, Need, Signal, Wire, eventually, full, note, program};
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "run::replica_that_never_gets_ready",
        &[Need::Ebb],
        never_ready,
    ),
    Case::new(
        "run::requests_racing_the_step_to_zero_are_answered",
        &[Need::Ebb],
        racing,
    ),
    Case::beside(
        "run::replica_killed_in_mid_start_is_replaced",
        &[Need::Ebb],
        killed,
    ),
];

/// The shortest stable window, 6 s. Together with a grace period of 1 s, the scale-down to zero is as fast as possible.
const WINDOW: [&str; 2] = ["--annotation", "autoscaling.knative.dev/window=6s"];
/// The maximum time that a request is queued.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The longest time by which a request is sent before or after a scale-down to zero, in ms.
const AROUND: u64 = 300;

/// Returns the number of concurrent runs, and the number of rounds of each run.
fn rounds() -> (u64, u64) {
    if full() { (25, 20) } else { (4, 4) }
}

fn racing() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yaml");
    fs::write(&config, "scale-to-zero-grace-period: 1s\n").expect("written");
    let config = config.to_str().expect("a path in UTF-8");
    let (runs, rounds) = rounds();
    // The runs are started one after the other, because each start loads programs into the kernel.
    let runs: Vec<_> = (0..runs)
        .map(|_| Run::sample(&[&WINDOW[..], &["--config", config]].concat()))
        .collect();
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(runs)
            .map(|(number, run)| scope.spawn(move || race(run, number, rounds)))
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ended.collect()
    });
    let sum = |of: fn(&(u64, u64)) -> u64| outcomes.iter().map(of).sum::<u64>();
    note(format!(
        "{} requests around the scale-down to zero, all answered: {} before the last replica began to drain, \
         {} after it; {:.0} s",
        sum(|(before, after)| before + after),
        sum(|(before, _)| *before),
        sum(|(_, after)| *after),
        begun.elapsed().as_secs_f64(),
    ));
}

/// Sends a request shortly before or after each scale-down to zero of one run. Returns the number of requests that came
/// before a scale-down, and the number that came after one.
fn race(mut run: Run, number: u64, rounds: u64) -> (u64, u64) {
    let address = run.address();
    let (mut before, mut after) = (0, 0);
    ask(address);
    let mut last = Instant::now();
    // The time from a request to the scale-down to zero that follows it, as measured in the previous round.
    let mut idle = Duration::from_millis(7_500);
    for round in 0..rounds {
        let mut hasher = DefaultHasher::new();
        (number, round).hash(&mut hasher);
        let hash = hasher.finish();
        let offset = Duration::from_millis((hash >> 1) % AROUND);
        let stepped = if hash.is_multiple_of(2) {
            thread::sleep(
                (last + idle.saturating_sub(offset)).saturating_duration_since(Instant::now()),
            );
            run.pending().any(|event| is_step(&event))
        } else {
            run.await_event("the scale-down to zero", SOON, |event| {
                is_step(event).then_some(())
            });
            idle = last.elapsed();
            thread::sleep(offset);
            true
        };
        ask(address);
        last = Instant::now();
        match stepped {
            true => after += 1,
            false => {
                before += 1;
                // The request came before the scale-down to zero. By how much is unknown, so the next request waits 50
                // ms longer.
                idle += Duration::from_millis(50);
            }
        }
        run.pending().for_each(drop);
    }
    run.finish();
    (before, after)
}

fn is_step(event: &Event) -> bool {
    matches!(event, Event::Replica(replica) if replica.state == "draining")
}

#[track_caller]
fn ask(to: SocketAddr) {
    let mut wire = Wire::connect(to);
    wire.get("/", "Connection: close\r\n");
    assert_eq!(wire.response(), 200);
}

/// Starts a run whose first replica, the trial, is an `ebb-sample` that starts immediately. Later replicas first
/// execute the shell command `later`.
fn later(options: &[&str], later: &str) -> (Run, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let tried = folder.path().join("tried");
    let tried = tried.to_str().expect("a path in UTF-8");
    let sample = program("ebb-sample");
    let sample = sample.to_str().expect("a path in UTF-8");
    let script =
        format!(r#"if [ -e "$0" ]; then {later}; fi; : > "$0"; exec "$1" --port {{port}}"#);
    let mut run = Run::start(options, &["sh", "-c", &script, tried, sample]);
    run.await_event(
        "the trial replica of `ebb run` has ended",
        SOON,
        |event| match event {
            Event::Replica(replica) => (replica.state == "stopped").then_some(()),
            _ => None,
        },
    );
    (run, folder)
}

fn killed() {
    let (run, _folder) = later(&[], r#"exec "$1" --port {port} --start-delay 1s"#);
    let mut wires: Vec<_> = (0..10)
        .map(|_| {
            let mut wire = Wire::connect(run.address());
            wire.get("/", "");
            wire
        })
        .collect();
    let replica = eventually("a replica that starts", SOON, || {
        run.replicas().into_iter().next()
    });
    kill(Pid::from_raw(replica.cast_signed()), Signal::SIGKILL).expect("killed");
    for wire in &mut wires {
        assert_eq!(wire.response(), 200);
    }
    note("replica killed during its start: another one answered its 10 requests".to_owned());
    drop(wires);
    run.finish();
}

fn never_ready() {
    let (mut run, _folder) = later(&["--start-timeout", "5s"], "exec sleep 3600");
    let begun = Instant::now();
    let mut wire = Wire::patient(run.address(), MAX_WAIT * 2);
    wire.get("/", "");
    run.await_event("a replica given up", SOON, |event| match event {
        Event::Replica(replica) => (replica.state == "failed").then_some(()),
        _ => None,
    });
    let (status, body) = wire.response_with_body();
    let took = begun.elapsed();
    assert_eq!(status, 504);
    assert!(
        body.starts_with(b"ebb: "),
        "{}",
        String::from_utf8_lossy(&body)
    );
    assert!(
        (MAX_WAIT..MAX_WAIT + Duration::from_secs(5)).contains(&took),
        "{took:?}"
    );
    drop(wire);
    run.finish();
}
