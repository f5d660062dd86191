//! The live view: the state of a run in a few lines.
//!
//! Pure code: it turns events into lines, and does no input or output.

use std::collections::{BTreeMap, VecDeque};

use super::console::Line;
use crate::run::event::{Average, ColdStart, Decision, Event, ReplicaState};

/// Length of the chart in seconds: the default stable window.
const HISTORY: usize = 60;
/// The characters of the chart, from zero to the highest value.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The data of the live view, updated by each event.
#[derive(Debug)]
pub(super) struct View {
    title: String,
    address: String,
    page: Option<String>,
    replicas: BTreeMap<u64, ReplicaState>,
    decision: Option<Decision>,
    cold_start: Option<ColdStart>,
    /// Mean concurrency of each of the last seconds, newest last.
    history: VecDeque<f64>,
    t: f64,
}

impl View {
    pub(super) fn new(title: String) -> View {
        View {
            title,
            address: String::new(),
            page: None,
            replicas: BTreeMap::new(),
            decision: None,
            cold_start: None,
            history: VecDeque::from(vec![0.0; HISTORY]),
            t: 0.0,
        }
    }

    /// Records an event.
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Listening(listening) => {
                self.address = format!("http://{}", listening.address);
                self.page = listening.page.map(|page| format!("http://{page}/"));
            }
            Event::Decision(decision) => self.decision = Some(decision.clone()),
            Event::ColdStart(cold) => self.cold_start = Some(*cold),
            Event::Replica(replica) => match replica.state {
                ReplicaState::Stopped | ReplicaState::Failed => {
                    self.replicas.remove(&replica.replica);
                }
                state => {
                    self.replicas.insert(replica.replica, state);
                }
            },
        }
    }

    /// Records the mean concurrency of the last second. `t` is the time since the start of the run, in seconds.
    pub(super) fn second(&mut self, concurrency: f64, t: f64) {
        self.history.pop_front();
        self.history.push_back(concurrency);
        self.t = t;
    }

    /// Returns the lines of the current view.
    pub(super) fn lines(&self) -> Vec<Line> {
        let line = |label, text| Line {
            label,
            text,
            strong: false,
        };
        let mut lines = vec![
            Line {
                strong: true,
                ..line("ebb run", format!("{}  {}", self.address, self.title))
            },
            line("replicas", self.replicas()),
        ];
        if let Some(page) = &self.page {
            lines.push(line("live page", page.clone()));
        }
        if let Some(decision) = &self.decision {
            lines.push(line("load", load(decision)));
            lines.push(Line {
                strong: decision.panic_mode,
                ..line("decision", averages(decision))
            });
            lines.push(line("why", decision.reason.clone()));
        }
        if let Some(cold) = &self.cold_start {
            lines.push(line("from 0", cold_start(cold)));
        }
        lines.push(line("last 60 s", self.chart()));
        lines.push(line(
            "time",
            format!("{:.0} s; Ctrl-C ends the run", self.t),
        ));
        lines
    }

    fn replicas(&self) -> String {
        let count = |state| {
            self.replicas
                .values()
                .filter(|there| **there == state)
                .count()
        };
        let dots: String = self.replicas.values().map(|state| dot(*state)).collect();
        format!(
            "{} ready, {} starting, {} draining  {dots}",
            count(ReplicaState::Ready),
            count(ReplicaState::Started),
            count(ReplicaState::Draining),
        )
    }

    fn chart(&self) -> String {
        let most = self.history.iter().copied().fold(0.0, f64::max);
        let bars: String = self.history.iter().map(|value| bar(*value, most)).collect();
        format!("{bars} concurrency, at most {most:.1}")
    }
}

fn load(decision: &Decision) -> String {
    format!(
        "{:.1} concurrent on average, {} in flight now, {} queued, {} requests in all",
        decision.concurrency, decision.in_flight, decision.queued, decision.requests
    )
}

fn averages(decision: &Decision) -> String {
    format!(
        "{} desired; stable average {}, panic average {}{}",
        decision.desired,
        Average(decision.stable),
        Average(decision.panic),
        if decision.panic_mode {
            "; panic mode"
        } else {
            ""
        }
    )
}

fn cold_start(cold: &ColdStart) -> String {
    format!(
        "first request waited {:.0} ms, {:.1} ms more than the replica took to start",
        cold.waited_ms, cold.added_ms
    )
}

fn dot(state: ReplicaState) -> char {
    match state {
        ReplicaState::Ready => '●',
        ReplicaState::Started => '○',
        ReplicaState::Draining | ReplicaState::Stopped | ReplicaState::Failed => '◌',
    }
}

/// Returns the bar for `value`. `most` is the value of the tallest bar.
fn bar(value: f64, most: f64) -> char {
    if most <= 0.0 {
        return BARS[0];
    }
    let top = BARS.len() - 1;
    // `value` and `most` are finite and value <= most, so the index is in 0..=top.
    let index = (value / most * top as f64).ceil() as usize;
    BARS[index.min(top)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::event::ReplicaEvent;

    fn replica(replica: u64, state: ReplicaState) -> Event {
        Event::Replica(ReplicaEvent {
            t: 0.0,
            replica,
            state,
            detail: None,
        })
    }

    fn text(view: &View, label: &str) -> String {
        let line = view.lines().into_iter().find(|line| line.label == label);
        line.unwrap().text
    }

    #[test]
    fn replicas_are_shown_by_state() {
        let mut view = View::new(String::new());
        view.apply(&replica(1, ReplicaState::Started));
        view.apply(&replica(1, ReplicaState::Ready));
        view.apply(&replica(2, ReplicaState::Started));
        assert_eq!(
            text(&view, "replicas"),
            "1 ready, 1 starting, 0 draining  ●○"
        );
        view.apply(&replica(1, ReplicaState::Stopped));
        assert_eq!(
            text(&view, "replicas"),
            "0 ready, 1 starting, 0 draining  ○"
        );
    }

    #[test]
    fn the_chart_moves_and_is_scaled_to_the_most() {
        let mut view = View::new(String::new());
        view.second(5.0, 1.0);
        view.second(10.0, 2.0);
        let chart = text(&view, "last 60 s");
        assert!(chart.ends_with("▁▅█ concurrency, at most 10.0"), "{chart}");
    }

    #[test]
    fn labels_leave_a_space() {
        let view = View::new(String::new());
        assert!(view.lines().iter().all(|line| line.label.len() < 10));
    }
}
