//! The time of the kernel programs per packet of a body, and per packet without data. The transfer of one long body
//! contains only these two kinds of packets.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{
    Options,
    pods::{Pods, Turn},
};
use crate::{
    median::median,
    runs::{Hooks, Runs},
    stream::Way,
};

/// Maximum time of a run for a packet without data, as a multiple of the run of an empty program.
const BOUND: f64 = 1.3;

pub(super) const NAMES: [&str; 2] = ["download", "upload"];

/// A row of the results: one direction of a long body, and the results of the rounds measured so far.
pub(super) struct Row {
    name: &'static str,
    way: Way,
    turns: Vec<Turn<Hooks>>,
}

/// Returns the rows that the options select.
pub(super) fn rows(options: &Options) -> Vec<Row> {
    NAMES
        .into_iter()
        .zip([Way::Down, Way::Up])
        .filter(|(name, _)| options.wants(name))
        .map(|(name, way)| Row {
            name,
            way,
            turns: Vec::new(),
        })
        .collect()
}

/// The medians over all rounds, for one direction of a long body.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) packet: &'static str,
    /// Time per run, in ns.
    pub(super) run_ns: f64,
    /// Time per run of an empty program for the same kind of packet, in ns.
    pub(super) empty_ns: f64,
    /// `run_ns / empty_ns`: the median of the ratios of all rounds.
    pub(super) ratio: f64,
    /// Maximum allowed value of `ratio`; `None` if there is no bound.
    pub(super) at_most: Option<f64>,
}

impl Figures {
    pub(super) fn is_good(&self) -> bool {
        self.at_most.is_none_or(|bound| self.ratio <= bound)
    }
}

impl Row {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Measures one round: both pods transfer the long body, one pod after the other.
    ///
    /// # Errors
    /// If the measurement was interrupted, or if the server does not answer.
    pub(super) fn turn(&mut self, pods: &mut Pods, seconds: u32) -> Result<()> {
        let time = Duration::from_secs(seconds.into());
        let turn = pods.turn(|pod| pod.stream(self.way, time))?;
        self.turns.push(turn);
        Ok(())
    }

    pub(super) fn figures(&self) -> [Figures; 2] {
        let ingress: fn(&Hooks) -> Runs = |hooks| hooks.ingress;
        let egress: fn(&Hooks) -> Runs = |hooks| hooks.egress;
        let (bare, full) = match self.way {
            Way::Down => (
                ("requests: without data", ingress),
                ("responses: inside a body", egress),
            ),
            Way::Up => (
                ("responses: without data", egress),
                ("requests: inside a body", ingress),
            ),
        };
        [self.figure(bare, Some(BOUND)), self.figure(full, None)]
    }

    fn figure(
        &self,
        (packet, hook): (&'static str, fn(&Hooks) -> Runs),
        at_most: Option<f64>,
    ) -> Figures {
        let ours = |turn: &Turn<Hooks>| hook(&turn.ours).each();
        let empty = |turn: &Turn<Hooks>| hook(&turn.empty).each();
        Figures {
            packet,
            run_ns: median(self.turns.iter().map(ours)),
            empty_ns: median(self.turns.iter().map(empty)),
            ratio: median(self.turns.iter().map(|turn| ours(turn) / empty(turn))),
            at_most,
        }
    }
}
