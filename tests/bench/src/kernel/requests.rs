//! Measures for each kind of request how long the kernel programs run per request: the sum over both hooks and all
//! packets of the request.

use anyhow::Result;
use serde::Serialize;

use super::{
    Options,
    pods::{Cost, Pods, Turn},
};
use crate::{load::Load, median::median};

/// Maximum time of all programs for one request, as a multiple of two runs of an empty program. The design sets this
/// bound; its goal is 4 instead of 5.
const BOUND: f64 = 5.0;

/// Minimum share of the requests that must have been counted; with fewer, the result would not be the cost of counting.
/// The requests in flight when a load ends are not counted: at most 50 of ten thousand, on the slowest machine.
const READ: f64 = 0.99;

/// A kind of request.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    load: Load,
    at_most: Option<f64>,
}

const KINDS: [Kind; 5] = [
    http1("HTTP/1, small", "/small", None),
    http1("HTTP/1, 16 KiB", "/large", None),
    http1("HTTP/1, excluded probe", "/small", Some("kube-probe/1.30")),
    http2("HTTP/2, 50 streams", 1, 50, Some(BOUND)),
    // This kind of request has no bound: with one stream at a time, HTTP/2 itself causes two of the four packets per
    // request.
    http2("HTTP/2, 50 connections", 50, 1, None),
];

const fn http1(name: &'static str, path: &'static str, user_agent: Option<&'static str>) -> Kind {
    Kind {
        name,
        load: Load::Http1 { path, user_agent },
        at_most: Some(BOUND),
    }
}

const fn http2(name: &'static str, connections: u32, streams: u32, at_most: Option<f64>) -> Kind {
    Kind {
        name,
        load: Load::Http2 {
            path: "/small",
            connections,
            streams,
        },
        at_most,
    }
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// A row of the results: one kind of request, and the results of the rounds measured so far.
pub(super) struct Row {
    kind: Kind,
    turns: Vec<Turn<Cost>>,
}

/// Returns the rows that the options select.
pub(super) fn rows(options: &Options) -> Vec<Row> {
    KINDS
        .into_iter()
        .filter(|kind| options.wants(kind.name))
        .map(|kind| Row {
            kind,
            turns: Vec::new(),
        })
        .collect()
}

/// The medians over all rounds, for one kind of request.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) row: &'static str,
    /// Time per run on ingress, in ns.
    pub(super) requests_ns: f64,
    /// Time per run on egress, in ns.
    pub(super) responses_ns: f64,
    /// Number of runs of all programs per request.
    pub(super) runs_per_request: f64,
    /// Time in all programs per request, in ns.
    pub(super) request_ns: f64,
    /// Time of one run of an empty program on ingress plus one on egress, in ns.
    pub(super) two_empty_ns: f64,
    /// `request_ns / two_empty_ns`: the median of the ratios of all rounds.
    pub(super) ratio: f64,
    /// Maximum allowed value of `ratio`; `None` if there is no bound.
    pub(super) at_most: Option<f64>,
    /// Share of the server's requests that Ebb counted or excluded.
    pub(super) counted: f64,
}

impl Figures {
    pub(super) fn is_good(&self) -> bool {
        self.is_read() && self.at_most.is_none_or(|bound| self.ratio <= bound)
    }

    /// Returns whether nearly all requests were parsed. A program that did not parse requests would seem cheap.
    pub(super) fn is_read(&self) -> bool {
        self.counted >= READ
    }
}

impl Row {
    pub(super) fn name(&self) -> &'static str {
        self.kind.name
    }

    /// Measures one round: both pods get the same load, one pod after the other.
    ///
    /// # Errors
    /// If the measurement was interrupted, or if the client or server does not answer.
    pub(super) fn turn(&mut self, pods: &mut Pods, seconds: u32) -> Result<()> {
        let turn = pods.turn(|pod| pod.requests(self.kind.load, seconds))?;
        self.turns.push(turn);
        Ok(())
    }

    pub(super) fn figures(&self) -> Figures {
        let over = |figure: fn(&Turn<Cost>) -> f64| median(self.turns.iter().map(figure));
        Figures {
            row: self.kind.name,
            requests_ns: over(|turn| turn.ours.hooks.ingress.each()),
            responses_ns: over(|turn| turn.ours.hooks.egress.each()),
            runs_per_request: over(|turn| turn.ours.runs_per_request()),
            request_ns: over(|turn| turn.ours.per_request()),
            two_empty_ns: over(|turn| turn.empty.one_of_each()),
            ratio: over(|turn| turn.ours.per_request() / turn.empty.one_of_each()),
            at_most: self.kind.at_most,
            // In each round, the server's request count is queried twice. Ebb counts both queries, so 2 is subtracted.
            counted: over(|turn| (turn.counted as f64 - 2.0) / turn.ours.requests as f64),
        }
    }
}
