//! The rounds of measurement for one kind of work, and their medians.

use anyhow::Result;
use serde::Serialize;

use super::Work;
use crate::median::{median, quartiles};

/// The result of one load on one variant of the server: bare, counted, or behind a queue-proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Requests per second.
    pub(super) rate: f64,
    /// 99th percentile of the latency, in ms.
    pub(super) p99: f64,
    /// CPU time per request, in µs: of the server, the client, and everything between them.
    pub(super) cpu: f64,
}

/// The results of one round: the same load on each variant, one variant after the other within minutes.
struct Turn {
    bare: Outcome,
    counted: Outcome,
    behind_proxy: Option<Outcome>,
}

/// The results of the rounds measured so far.
#[derive(Default)]
pub(super) struct Turns(Vec<Turn>);

impl Turns {
    /// Measures one round: each variant once. The order of the variants alternates from round to round, because a
    /// measurement right after a load differs from one after a pause.
    ///
    /// # Errors
    /// If a load fails.
    pub(super) fn take(
        &mut self,
        number: u32,
        bare: impl FnOnce() -> Result<Outcome>,
        counted: impl FnOnce() -> Result<Outcome>,
        behind_proxy: Option<impl FnOnce() -> Result<Outcome>>,
    ) -> Result<()> {
        let proxied = || behind_proxy.map(|load| load()).transpose();
        self.0.push(if number.is_multiple_of(2) {
            Turn {
                bare: bare()?,
                counted: counted()?,
                behind_proxy: proxied()?,
            }
        } else {
            Turn {
                behind_proxy: proxied()?,
                counted: counted()?,
                bare: bare()?,
            }
        });
        Ok(())
    }

    pub(super) fn figures(&self, work: &Work) -> Figures {
        let bare = self.0.iter().map(|turn| turn.bare);
        let counted = self.0.iter().map(|turn| (turn.counted, turn.bare));
        let proxied = self
            .0
            .iter()
            .filter_map(|turn| Some((turn.behind_proxy?, turn.bare)));
        Figures {
            work: work.name,
            bare_rate: median(bare.clone().map(|outcome| outcome.rate)),
            bare_p99_ms: median(bare.clone().map(|outcome| outcome.p99)),
            bare_cpu_us: median(bare.map(|outcome| outcome.cpu)),
            counted: Against::of(counted).unwrap_or_default(),
            throughput_at_least: work.throughput,
            p99_at_most: work.p99,
            behind_queue_proxy: Against::of(proxied),
        }
    }
}

/// The medians over all rounds, for one kind of work.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) work: &'static str,
    /// Requests per second.
    pub(super) bare_rate: f64,
    pub(super) bare_p99_ms: f64,
    /// CPU time per request, in µs.
    pub(super) bare_cpu_us: f64,
    pub(super) counted: Against,
    pub(super) throughput_at_least: f64,
    pub(super) p99_at_most: Option<f64>,
    /// The variant behind the queue-proxy; `None` if no queue-proxy was given.
    pub(super) behind_queue_proxy: Option<Against>,
}

/// The medians of one variant, compared with the bare server.
#[derive(Debug, Default, Serialize)]
pub(super) struct Against {
    /// Requests per second.
    pub(super) rate: f64,
    pub(super) p99_ms: f64,
    /// Throughput as a share of that of the bare server: the median of the ratios of all rounds.
    pub(super) throughput: f64,
    /// The first and the third quartile of the throughput ratios. They show how precise a measurement on this machine
    /// is.
    pub(super) throughput_quartiles: [f64; 2],
    /// 99th percentile of the latency, as a multiple of that of the bare server: the median of the ratios of all
    /// rounds.
    pub(super) p99: f64,
    /// CPU time per request, in µs.
    pub(super) cpu_us: f64,
    /// CPU time per request, as a multiple of that of the bare server: the median of the ratios of all rounds.
    pub(super) cpu: f64,
}

impl Against {
    /// Computes the medians of a variant. `turns` has one tuple (result of the variant, result of the bare server) per
    /// round. Returns `None` if there are no rounds.
    fn of(turns: impl Iterator<Item = (Outcome, Outcome)> + Clone) -> Option<Self> {
        turns.clone().next()?;
        let over = |figure: fn((Outcome, Outcome)) -> f64| median(turns.clone().map(figure));
        let throughput = |(outcome, bare): (Outcome, Outcome)| outcome.rate / bare.rate;
        Some(Self {
            rate: over(|(outcome, _)| outcome.rate),
            p99_ms: over(|(outcome, _)| outcome.p99),
            throughput: over(throughput),
            throughput_quartiles: quartiles(turns.clone().map(throughput)),
            p99: over(|(outcome, bare)| outcome.p99 / bare.p99),
            cpu_us: over(|(outcome, _)| outcome.cpu),
            cpu: over(|(outcome, bare)| outcome.cpu / bare.cpu),
        })
    }
}

impl Figures {
    pub(super) fn is_good(&self) -> bool {
        self.counted.throughput >= self.throughput_at_least
            && self
                .p99_at_most
                .is_none_or(|bound| self.counted.p99 <= bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rate: f64, p99: f64) -> Outcome {
        let cpu = 1e6 / rate;
        Outcome { rate, p99, cpu }
    }

    #[test]
    fn neighbours_in_time_are_compared() {
        let mut turns = Turns::default();
        // From round to round, the machine becomes half as fast. The ratio of the rates of the counted and the bare
        // server is 0.96 in each round.
        for (number, speed) in [1000.0, 500.0, 250.0].into_iter().enumerate() {
            let none: Option<fn() -> Result<Outcome>> = None;
            let bare = || Ok(outcome(speed, 1.0));
            let counted = || Ok(outcome(speed * 0.96, 1.05));
            turns.take(number as u32, bare, counted, none).unwrap();
        }
        let figures = turns.figures(&super::super::WORKS[0]);
        assert_eq!(figures.counted.throughput, 0.96);
        assert_eq!(figures.counted.p99, 1.05);
        assert!(figures.is_good());
        assert!(figures.behind_queue_proxy.is_none());
    }
}
