//! The kinds of request, and the total cost of one request: both hooks, all its packets.

use anyhow::Result;
use serde::Serialize;

use super::{
    Options,
    pods::{Cost, Pods, Turn},
};
use crate::{load::Load, median::median};

/// Bound for a whole request, in units of two empty programs, from the design. The design's aim is 4.
const BOUND: f64 = 5.0;

/// Least share of the requests that must be counted, so that a figure is the cost of counting. The rest are the requests in
/// flight when a load ends: 50 of ten thousand on the slowest machine.
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
    // With one stream at a time, two of four packets are those that HTTP/2 itself adds: no bound.
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

/// A kind of request and its turns so far.
pub(super) struct Row {
    kind: Kind,
    turns: Vec<Turn<Cost>>,
}

/// The selected rows.
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

/// Medians over the turns.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) row: &'static str,
    /// Nanoseconds per run on ingress.
    pub(super) requests_ns: f64,
    /// Nanoseconds per run on egress.
    pub(super) responses_ns: f64,
    /// Runs of all programs per request.
    pub(super) runs_per_request: f64,
    /// Nanoseconds in all programs per request.
    pub(super) request_ns: f64,
    /// One run of an empty program at each of the two hooks.
    pub(super) two_empty_ns: f64,
    /// `request_ns` in units of `two_empty_ns`; the median of the ratios of each turn.
    pub(super) ratio: f64,
    /// The bound; `None` if there is none.
    pub(super) at_most: Option<f64>,
    /// Share of the server's requests that Ebb counted or excluded.
    pub(super) counted: f64,
}

impl Figures {
    pub(super) fn is_good(&self) -> bool {
        self.is_read() && self.at_most.is_none_or(|bound| self.ratio <= bound)
    }

    /// Whether the requests were parsed at all: unparsed requests are cheap.
    pub(super) fn is_read(&self) -> bool {
        self.counted >= READ
    }
}

impl Row {
    pub(super) fn name(&self) -> &'static str {
        self.kind.name
    }

    /// # Errors
    /// If interrupted, or if the client or server does not answer.
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
            // The two queries to the server were counted too.
            counted: over(|turn| (turn.counted as f64 - 2.0) / turn.ours.requests as f64),
        }
    }
}
