//! A request shortly before or after the scale-down to zero is never refused.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::thread;
use std::time::{Duration, Instant};

use ebb_fixtures::{full, note};

use super::client::{all, one};
use super::world::{App, TO_ZERO, shared};

/// Returns the number of workloads that are tested concurrently, and the number of rounds of each workload. Each round
/// sends one request.
fn rounds() -> (u64, u64) {
    if full() { (50, 10) } else { (8, 4) }
}

/// The longest time by which a request is sent before or after the write of zero replicas.
const AROUND: Duration = Duration::from_millis(800);

pub(super) fn racing() {
    let zero = shared();
    let (workloads, rounds) = rounds();
    let begun = Instant::now();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workloads)
            .map(|workload| {
                let zero = &zero;
                scope.spawn(move || {
                    let app = zero.app("racing", &format!("web-{workload}"), &[]);
                    app.await_zero();
                    race(&app, workload, rounds)
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.collect()
    });
    let refused: Vec<_> = outcomes.iter().flat_map(|it| &it.bad).collect();
    let some = &refused[..refused.len().min(5)];
    assert!(refused.is_empty(), "{} refused: {some:#?}", refused.len());
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    note(format!(
        "{} requests around the scale-down to zero, none refused: {} came before zero replicas were written, {} \
         after; {} were answered by an activator, {} by a pod directly; {:.0} s",
        sum(|it| it.before + it.after),
        sum(|it| it.before),
        sum(|it| it.after),
        sum(|it| it.activator),
        sum(|it| it.pod),
        begun.elapsed().as_secs_f64(),
    ));
}

#[derive(Debug, Default)]
struct Outcome {
    before: u64,
    after: u64,
    activator: u64,
    pod: u64,
    bad: Vec<String>,
}

fn race(app: &App<'_>, workload: u64, rounds: u64) -> Outcome {
    let mut outcome = Outcome::default();
    // Estimated time from the end of a request to the write of zero replicas. It is first an assumption, and then the
    // time measured in the previous round.
    let mut idle = Duration::from_secs(9);
    let mut last = one_request(app, &mut outcome);
    for round in 0..rounds {
        let (offset, early) = offset(workload, round);
        let at = if early {
            last + idle.saturating_sub(offset)
        } else {
            last + idle + offset
        };
        let zero_since = |since: Instant| {
            let scale = app.scale().filter(|(pods, at)| *pods == 0 && *at > since);
            scale.map(|(_, at)| at)
        };
        let until = last + TO_ZERO;
        // A request that is to come after the write of zero replicas is sent `offset` after the watch has reported this
        // write.
        let mut ordered = zero_since(last);
        while Instant::now() < until {
            ordered = zero_since(last);
            let due = match ordered {
                Some(ordered) if !early => Instant::now() >= ordered + offset,
                Some(_) => true,
                None => early && Instant::now() >= at,
            };
            if due {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(ordered) = ordered {
            outcome.after += 1;
            idle = ordered - last;
        } else {
            outcome.before += 1;
            // The request came before the write of zero replicas. By how much is unknown, so the test increases its
            // estimate `idle`.
            idle += Duration::from_millis(100);
        }
        last = one_request(app, &mut outcome);
    }
    outcome
}

fn one_request(app: &App<'_>, outcome: &mut Outcome) -> Instant {
    let answer = all(vec![one(&app.pick(), "/")]).remove(0);
    match answer {
        Ok(answer) if answer.status == 200 => {
            // Pods listen on port 8080, activators on other ports.
            match answer.from.port() {
                8080 => outcome.pod += 1,
                _ => outcome.activator += 1,
            }
            answer.received
        }
        other => {
            outcome.bad.push(format!("{:?}: {other:?}", app.names()));
            Instant::now()
        }
    }
}

/// Returns the intended time between a request and the write of zero replicas, and whether the request is to come
/// before the write. A workload and a round have the same values in every test run.
fn offset(workload: u64, round: u64) -> (Duration, bool) {
    let mut hasher = DefaultHasher::new();
    (workload, round).hash(&mut hasher);
    let hash = hasher.finish();
    let part = (hash >> 1) % AROUND.as_millis() as u64;
    (Duration::from_millis(part), hash.is_multiple_of(2))
}
