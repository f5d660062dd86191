//! The recorded course of a demo, in order of time. All output of the demo is made from this record.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::event::{ColdStart, Decision, Event, State};

/// A row of `timeline.csv`: a decision, and the phase of the load at the time of the decision.
#[derive(Serialize)]
struct Row<'a> {
    t: f64,
    phase: &'a str,
    clients: usize,
    replicas: u32,
    ready: u32,
    concurrency: f64,
    in_flight: u64,
    queued: u64,
    stable: Option<f64>,
    panic: Option<f64>,
    desired: u32,
    panic_mode: bool,
    requests: u64,
    reason: &'a str,
}

/// A phase of the load.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: &'static str,
    /// Number of parallel clients.
    pub(super) clients: usize,
    /// Start of the phase, in seconds since the start of `ebb run`.
    pub(super) from: f64,
    /// End of the phase, in seconds since the start of `ebb run`.
    pub(super) to: f64,
}

/// All recorded events.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) decisions: Vec<Decision>,
    pub(super) cold_starts: Vec<ColdStart>,
    pub(super) spans: Vec<Span>,
    /// Tuples (time, number of ready replicas from then on), one per change. They come from the events of the replicas,
    /// because a decision contains only the number at the time of the decision.
    ready: Vec<(f64, u32)>,
    ready_now: BTreeSet<u64>,
}

impl Timeline {
    /// Records an event.
    pub(super) fn take_in(&mut self, event: Event) {
        match event {
            Event::Decision(decision) => self.decisions.push(decision),
            Event::ColdStart(cold) => self.cold_starts.push(cold),
            Event::Replica { t, replica, state } => {
                let changed = match state {
                    State::Ready => self.ready_now.insert(replica),
                    State::Draining | State::Stopped | State::Failed => {
                        self.ready_now.remove(&replica)
                    }
                    State::Started => false,
                };
                if changed {
                    let number = u32::try_from(self.ready_now.len()).unwrap_or(u32::MAX);
                    self.ready.push((t, number));
                }
            }
            Event::Listening { .. } | Event::Other => {}
        }
    }

    /// Returns tuples (time, number of ready replicas from then on), one per change.
    pub(super) fn ready(&self) -> &[(f64, u32)] {
        &self.ready
    }

    /// Returns the number of ready replicas at time `t`.
    pub(super) fn ready_at(&self, t: f64) -> u32 {
        self.ready
            .iter()
            .take_while(|(since, _)| *since <= t)
            .last()
            .map_or(0, |(_, number)| *number)
    }

    /// Returns the highest number of ready replicas.
    pub(super) fn peak_ready(&self) -> u32 {
        self.ready
            .iter()
            .map(|(_, number)| *number)
            .max()
            .unwrap_or(0)
    }

    /// Returns the mean concurrency of a phase, from the means of the decisions that overlap it.
    pub(super) fn mean_concurrency(&self, span: &Span) -> f64 {
        let mut since = 0.0;
        let (mut integral, mut covered) = (0.0, 0.0);
        for decision in &self.decisions {
            let overlap = (decision.t.min(span.to) - f64::max(since, span.from)).max(0.0);
            integral += decision.concurrency * overlap;
            covered += overlap;
            since = decision.t;
        }
        if covered > 0.0 {
            integral / covered
        } else {
            0.0
        }
    }

    /// Returns the time of the last decision, in seconds.
    pub(super) fn end(&self) -> f64 {
        self.decisions.last().map_or(0.0, |last| last.t)
    }

    /// Returns the intervals of panic mode, as tuples (start, end) in seconds. Each decision holds until the next
    /// decision.
    pub(super) fn panics(&self) -> Vec<(f64, f64)> {
        let mut intervals: Vec<(f64, f64)> = Vec::new();
        for pair in self.decisions.windows(2) {
            let [now, next] = pair else { continue };
            match intervals.last_mut() {
                Some(last) if now.panic_mode && last.1 >= now.t => last.1 = next.t,
                _ if now.panic_mode => intervals.push((now.t, next.t)),
                _ => {}
            }
        }
        intervals
    }

    /// Writes `timeline.csv` with one row per decision.
    pub(super) fn write_csv(&self, path: &Path) -> Result<()> {
        let write = || -> csv::Result<()> {
            let mut csv = csv::Writer::from_path(path)?;
            for decision in &self.decisions {
                csv.serialize(self.row(decision))?;
            }
            Ok(csv.flush()?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    fn row<'a>(&'a self, decision: &'a Decision) -> Row<'a> {
        let span = self
            .spans
            .iter()
            .find(|span| (span.from..span.to).contains(&decision.t));
        Row {
            t: decision.t,
            phase: span.map_or("", |span| span.name),
            clients: span.map_or(0, |span| span.clients),
            replicas: decision.replicas,
            ready: decision.ready,
            concurrency: decision.concurrency,
            in_flight: decision.in_flight,
            queued: decision.queued,
            stable: decision.stable,
            panic: decision.panic,
            desired: decision.desired,
            panic_mode: decision.panic_mode,
            requests: decision.requests,
            reason: &decision.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_ready_until_they_drain() {
        let mut timeline = Timeline::default();
        for (t, replica, state) in [
            (1.0, 1, State::Started),
            (1.2, 1, State::Ready),
            (2.0, 2, State::Ready),
            (3.0, 1, State::Draining),
            (3.5, 1, State::Stopped),
            (4.0, 2, State::Failed),
        ] {
            timeline.take_in(Event::Replica { t, replica, state });
        }
        assert_eq!(timeline.ready(), [(1.2, 1), (2.0, 2), (3.0, 1), (4.0, 0)]);
        assert_eq!(timeline.peak_ready(), 2);
    }

    #[test]
    fn a_mean_is_weighted_by_how_long_it_held() {
        let decision = |t, concurrency| Decision {
            t,
            concurrency,
            ..Decision::default()
        };
        let timeline = Timeline {
            decisions: vec![decision(2.0, 0.0), decision(4.0, 10.0), decision(5.0, 40.0)],
            ..Timeline::default()
        };
        let span = Span {
            name: "",
            clients: 1,
            from: 3.0,
            to: 5.0,
        };
        assert_eq!(timeline.mean_concurrency(&span), 25.0);
    }

    #[test]
    fn a_panic_lasts_until_the_decision_that_ends_it() {
        let decision = |t, panic_mode| Decision {
            t,
            panic_mode,
            ..Decision::default()
        };
        let timeline = Timeline {
            decisions: vec![
                decision(0.0, false),
                decision(2.0, true),
                decision(4.0, true),
                decision(6.0, false),
                decision(8.0, true),
                decision(10.0, false),
            ],
            ..Timeline::default()
        };
        assert_eq!(timeline.panics(), [(2.0, 6.0), (8.0, 10.0)]);
    }
}
