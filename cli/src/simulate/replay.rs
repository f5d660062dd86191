//! Replays a trace against a model of the workload: the loop of the autoscaler, with the time of the recording.
//!
//! Decisions are made at the same times as in the autoscaler, always at the end of a row: every two seconds; at once if
//! a request arrives while no pod is desired, or a burst begins (class `ebb.dev`); and at the time that the previous
//! decision requested. Bias: the number of pods does not change the recorded concurrency; with too few pods, real
//! requests would have been queued or would have failed.

use std::time::Duration;

use ebb_autoscaler_core::{
    BadSample, DECISION_TICK, Decision, Facts, Feed, Metric, Settings, Status, Timestamp, Workload,
};

use super::{
    clock::at,
    input::{Second, Trace},
    line::Line,
    pods::Pods,
    summary::{Summary, SummaryBuilder},
};

/// The state of the workload before the first row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Time that a pod takes to become ready.
    pub(super) pod_start: Duration,
    /// Number of pods that are already ready; `None` for a new workload.
    pub(super) ready: Option<u32>,
    /// Whether traffic is routed to the workload, if the rows do not say.
    pub(super) reachable: bool,
}

/// The result of a replay.
#[derive(Debug)]
pub(super) struct Replay {
    /// The decisions.
    pub(super) lines: Vec<Line>,
    /// Ready pods during each second of the trace.
    pub(super) ready: Vec<u32>,
    /// The summary.
    pub(super) summary: Summary,
}

/// The reason why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// The trace does not contain the scaling metric, requests per second.
    #[error("the metric is rps, and the trace has no column rps")]
    NoRps,
    /// A row of the trace has a value that the decision code rejects: NaN, a negative number, or a number that is too
    /// large.
    #[error("row with t={t}: {source}")]
    Sample {
        /// Time of the row.
        t: f64,
        /// The rejected value, and the name of its field.
        source: BadSample,
    },
}

/// Half the time between two rows of the trace. A decision tick is handled at the row that is closest in time.
const NEAR: Duration = Duration::from_millis(500);

struct World {
    workload: Workload,
    pods: Pods,
    feed: Feed,
    reachable: bool,
    proxying_since: Option<Timestamp>,
    /// The end of the last simulated second.
    until: Timestamp,
    builder: SummaryBuilder,
}

/// Replays `trace` from `start`. `status` returns the workload's status at the first row.
pub(super) fn replay(
    trace: &Trace,
    settings: Settings,
    start: Start,
    status: impl FnOnce(Timestamp) -> Status,
) -> Result<Replay, ReplayError> {
    if settings.metric == Metric::Rps && trace.seconds.iter().any(|second| second.rps.is_none()) {
        return Err(ReplayError::NoRps);
    }
    let mut tick = trace.seconds.first().map_or(at(0.0), |first| at(first.t));
    let mut world = World::new(tick, settings, start, status(tick));
    let (mut lines, mut ready) = (Vec::new(), Vec::with_capacity(trace.seconds.len()));
    let mut asked = None;
    for second in &trace.seconds {
        let now = at(second.t);
        ready.push(world.pods.ready());
        let poked = world.pass(second, now)?;
        let due = now + NEAR >= tick;
        while now + NEAR >= tick {
            tick = tick + DECISION_TICK;
        }
        if due || poked || asked.is_some_and(|asked| asked <= now) {
            let ready = world.pods.ready();
            let decision = world.decide(second, now);
            asked = decision.step.again.map(|again| now + again);
            lines.push(Line::new(second.t, Some(ready), &decision));
        }
    }
    Ok(Replay {
        lines,
        ready,
        summary: world.builder.finish(),
    })
}

impl World {
    /// Creates the simulated workload. Its first second ends at `now`.
    fn new(now: Timestamp, settings: Settings, start: Start, status: Status) -> World {
        let found = start.ready.unwrap_or(0);
        let workload = Workload::restored(now, settings, found, status);
        let mut pods = Pods::new(start.pod_start, found);
        if start.ready.is_none() {
            pods.scale(now, workload.initial_replicas());
        }
        let until = now - Duration::from_secs(1);
        World {
            builder: SummaryBuilder::new(workload.settings()),
            workload,
            pods,
            feed: Feed::starting(until),
            reachable: start.reachable,
            proxying_since: None,
            until,
        }
    }

    /// Simulates the second of a row. Returns whether a decision must be made at once.
    fn pass(&mut self, second: &Second, now: Timestamp) -> Result<bool, ReplayError> {
        let length = now.since(self.until);
        self.until = now;
        self.builder.second(length, second, &self.pods);
        let asleep = self.pods.all() == 0;
        self.pods.advance(now);
        if asleep && second.concurrency == 0.0 && second.rps.unwrap_or(0.0) == 0.0 {
            // Without pods and requests, no sample is recorded, as for a Knative revision without pods. Otherwise the
            // first request would be averaged with up to an hour of zeros.
            let ended = std::mem::replace(&mut self.feed, Feed::starting(now));
            self.workload.forget(ended);
            return Ok(false);
        }
        let requests = second.rps.unwrap_or(0.0) * length.as_secs_f64();
        let trigger = self
            .workload
            .observe(&mut self.feed, now, second.concurrency, requests)
            .map_err(|source| ReplayError::Sample {
                t: second.t,
                source,
            })?;
        Ok(trigger.is_some())
    }

    /// Makes a decision and applies it.
    fn decide(&mut self, second: &Second, now: Timestamp) -> Decision {
        let facts = Facts {
            ready: Some(self.pods.ready()),
            replicas: self.pods.all(),
            reachable: second.reachable.unwrap_or(self.reachable),
            proxying_since: self.proxying_since,
            activator_answers: Some(self.proxying_since.is_some()),
            stale: false,
        };
        let decision = self.workload.decide(now, &facts);
        self.proxying_since = decision
            .step
            .proxy
            .then(|| self.proxying_since.unwrap_or(now));
        self.builder.decided(&decision, self.pods.all());
        if let Some(pods) = decision.step.apply {
            self.pods.scale(now, pods);
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use ebb_autoscaler_core::{Annotations, Config};

    use super::*;

    fn settings(annotations: &[(&str, &str)]) -> Settings {
        let config = Config::default();
        let names: Vec<_> = annotations
            .iter()
            .map(|(key, _)| format!("autoscaling.knative.dev/{key}"))
            .collect();
        let given = names
            .iter()
            .zip(annotations)
            .map(|(name, (_, value))| (name.as_str(), *value));
        Settings::resolve(&config, &Annotations::parse(&config, given).unwrap(), 0)
    }

    /// Builds a trace of `spans`, tuples (number of seconds, concurrency in each of them).
    fn trace(spans: &[(usize, f64)]) -> Trace {
        let loads = spans
            .iter()
            .flat_map(|&(seconds, load)| std::iter::repeat_n(load, seconds));
        let second = |(t, concurrency)| Second {
            t: f64::from(t),
            concurrency,
            rps: None,
            reachable: None,
        };
        Trace {
            seconds: (0..).zip(loads).map(second).collect(),
            filled: 0,
        }
    }

    fn run(trace: &Trace, annotations: &[(&str, &str)], ready: Option<u32>) -> Replay {
        let start = Start {
            pod_start: Duration::from_secs(5),
            ready,
            reachable: true,
        };
        replay(trace, settings(annotations), start, Status::new).unwrap()
    }

    #[test]
    fn pods_are_ready_when_they_have_started() {
        let replay = run(&trace(&[(60, 100.0)]), &[("target", "10")], None);
        // The first pod is requested at second 0 and takes five seconds to become ready. The decision at
        // second 0 requests the other fourteen pods, which become ready in the same second as the first pod.
        assert_eq!(replay.lines[0].ready, Some(0));
        assert_eq!(replay.ready[5..=6], [0, 15]);
        assert_eq!(replay.lines.last().unwrap().desired, Some(15));
        assert_eq!(replay.lines[1].t, 2.0);
    }

    #[test]
    fn bounds_hold_and_one_is_left() {
        let bounds = [
            ("target", "10"),
            ("target-utilization-percentage", "100"),
            ("min-scale", "1"),
            ("max-scale", "3"),
        ];
        let replay = run(&trace(&[(30, 50.0), (300, 0.0)]), &bounds, Some(1));
        assert_eq!(replay.ready.iter().max(), Some(&3));
        assert_eq!(replay.ready.last(), Some(&1));
        assert_eq!(replay.lines.last().unwrap().desired, Some(1));
        assert_eq!(
            replay.lines.iter().filter_map(|line| line.desired).max(),
            Some(3)
        );
    }

    #[test]
    fn the_last_pod_goes_and_the_next_request_brings_one_at_once() {
        let trace = trace(&[(20, 1.0), (301, 0.0), (9, 1.0)]);
        let replay = run(&trace, &[], Some(1));
        assert_eq!(replay.ready[320], 0);
        // A decision is made at second 321, between two decision ticks. Its stable average does not include the seconds
        // without requests before it.
        let wake = replay.lines.iter().find(|line| line.t == 321.0).unwrap();
        assert_eq!((wake.stable, wake.apply), (Some(1.0), Some(1)));
        assert_eq!(replay.ready[327], 1);
    }

    #[test]
    fn requests_per_second_must_be_there_to_be_scaled_on() {
        let start = Start {
            pod_start: Duration::ZERO,
            ready: None,
            reachable: true,
        };
        let rps = settings(&[("metric", "rps")]);
        let error = replay(&trace(&[(5, 1.0)]), rps, start, Status::new).unwrap_err();
        assert!(matches!(error, ReplayError::NoRps));
    }
}
