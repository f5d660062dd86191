//! An artificial demo with the expected course, for the tests of the output.

use std::time::Duration;

use super::{
    event::{ColdStart, Decision, Event, State},
    load::Outcome,
    script::Played,
    timeline::{Span, Timeline},
};

/// The phases, as tuples (name, seconds, clients, replicas at the end of the phase).
const PHASES: [(&str, f64, usize, u32); 7] = [
    ("idle", 4.0, 0, 0),
    ("one request", 0.4, 1, 1),
    ("pause", 6.0, 0, 1),
    ("burst", 20.0, 50, 5),
    ("lull", 9.0, 0, 1),
    ("second wave", 15.0, 25, 3),
    ("idle to zero", 14.0, 0, 0),
];

/// Returns the whole demo, with one decision per second.
pub(super) fn played() -> Played {
    let mut timeline = Timeline::default();
    let mut outcomes = Vec::new();
    let (mut from, mut stable, mut panic, mut replicas) = (0.0, 0.0, 0.0, 0_u32);
    for (name, length, clients, target) in PHASES {
        let to = from + length;
        timeline.spans.push(Span {
            name,
            clients,
            from,
            to,
        });
        let sent = clients
            * if name == "one request" {
                1
            } else {
                length as usize * 9
            };
        outcomes.push(Outcome {
            latencies: vec![Duration::from_millis(105); sent],
            failures: Vec::new(),
        });
        let mut t = from + 0.2;
        while t < to {
            let concurrency = clients as f64 * 0.97;
            stable += (concurrency - stable) / 5.0;
            panic += (concurrency - panic) / 1.5;
            let before = replicas;
            // The number of replicas decreases only after the average has decreased, as with the real autoscaler.
            if target > replicas || stable < 3.0 {
                replicas = if target > replicas {
                    target.min(replicas * 3 + 1)
                } else {
                    target
                };
            }
            for replica in before.min(replicas)..before.max(replicas) {
                let state = if replicas > before {
                    State::Ready
                } else {
                    State::Draining
                };
                timeline.take_in(Event::Replica {
                    t,
                    replica: replica.into(),
                    state,
                });
            }
            timeline.decisions.push(Decision {
                t,
                replicas,
                ready: replicas,
                concurrency,
                in_flight: clients as u64,
                stable: Some(stable),
                panic: Some(panic),
                desired: target.max(replicas),
                panic_mode: name == "burst" && t < from + 8.0,
                ..Decision::default()
            });
            t += 1.0;
        }
        from = to;
    }
    if let Some(last) = timeline.decisions.last_mut() {
        (last.replicas, last.ready, last.desired) = (0, 0, 0);
    }
    timeline.cold_starts.push(ColdStart {
        t: 4.2,
        start_ms: 204.0,
        waited_ms: 206.5,
        added_ms: 2.5,
    });
    Played { timeline, outcomes }
}
