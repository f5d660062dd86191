//! The stored history of one workload, for the page.

use ebb_autoscaler_core::Decision;

use crate::{
    history::History,
    journal::Journal,
    json::{Line, Point},
};

/// The state of a workload at the time of a decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkloadSample {
    /// Requests in flight, including queued requests.
    pub load: f64,
    /// Ready replicas. `None` if unknown.
    pub ready: Option<u32>,
    /// Requested replicas.
    pub replicas: u32,
}

/// The last hour of a workload, and its last decisions.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    history: History,
    journal: Journal,
}

impl Memory {
    /// Records a decision.
    pub fn record(&mut self, decision: &Decision, sample: &WorkloadSample) {
        let averages = decision.averages;
        self.history.push(Point {
            t: decision.at.since_epoch().as_secs(),
            concurrency: sample.load as f32,
            stable: averages.map_or(-1.0, |averages| averages.stable as f32),
            panic: averages.map_or(-1.0, |averages| averages.panic as f32),
            ready: short(sample.ready.unwrap_or(0)),
            requested: short(sample.replicas),
            desired: short(decision.step.want.or(decision.desired).unwrap_or(0)),
            panic_mode: decision.panic_mode,
        });
        self.journal.record(decision, sample.ready);
    }

    /// Returns the points of the last hour, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Point> {
        self.history.points()
    }

    /// Returns the last decisions that differed from the decision before them, newest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<Line> {
        self.journal.lines()
    }
}

/// Converts a number of pods to the type of a chart's point. A number above 65 535 becomes 65 535.
fn short(pods: u32) -> u16 {
    u16::try_from(pods).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ebb_autoscaler_core::{Facts, Feed, Settings, Timestamp, Workload};

    use super::*;

    #[test]
    fn a_burst_is_told_once_and_drawn_throughout() {
        let start = Timestamp::from_secs(1_000_000);
        let mut workload = Workload::new(start, Settings::default(), 1);
        let mut feed = Feed::starting(start);
        let mut memory = Memory::default();
        for second in 1..=60 {
            let now = start + Duration::from_secs(second);
            let load = if second > 30 { 700.0 } else { 50.0 };
            workload.observe(&mut feed, now, load, load).unwrap();
            if second % 2 == 0 {
                let decision = workload.decide(now, &Facts::local(1, 1));
                let sample = WorkloadSample {
                    load,
                    ready: Some(1),
                    replicas: 1,
                };
                memory.record(&decision, &sample);
            }
        }
        let points = memory.history();
        assert!(
            points
                .iter()
                .any(|point| point.panic_mode && point.desired > 5)
        );
        assert!(points.iter().any(|point| !point.panic_mode));
        let decisions = memory.decisions();
        assert!(decisions.len() < 12, "{decisions:#?}");
        assert!(
            decisions
                .iter()
                .any(|line| line.reason.starts_with("panic: 6 s average"))
        );
        assert!(decisions.is_sorted_by(|newer, older| newer.at >= older.at));
    }
}
