//! The cells of a row, and what is held against what the API server saw of them.

use std::time::{Duration, Instant};

use ebb_tests::cluster::simulated::LABEL;
use ebb_tests::cluster::{deployment, kubelet};
use serde_json::{Value, json};

use crate::light::{BUCKET, CARRIES, WINDOW, fast, needs};

/// Replicas and traffic of one Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) replicas: u32,
    pub(super) busy: bool,
}

/// All of a row.
pub(super) const CELLS: [Cell; 8] = [
    Cell::new(0, false),
    Cell::new(0, true),
    Cell::new(1, false),
    Cell::new(1, true),
    Cell::new(20, false),
    Cell::new(20, true),
    Cell::new(200, false),
    Cell::new(200, true),
];

/// The namespace of all.
pub(super) const NAMESPACE: &str = "matrix";

impl Cell {
    const fn new(replicas: u32, busy: bool) -> Self {
        Self { replicas, busy }
    }

    pub(super) fn name(self) -> String {
        let load = if self.busy { "busy" } else { "idle" };
        format!("{load}-{}", self.replicas)
    }

    pub(super) fn title(self) -> String {
        let load = if self.busy { "traffic" } else { "no traffic" };
        format!("{}, {load}", self.replicas)
    }

    /// Whether its pods are processes behind a Service.
    pub(super) fn is_served(self) -> bool {
        self.replicas <= 1
    }

    /// The load its replicas carry, where they are simulated: well between one pod less and one more.
    pub(super) fn load(self) -> f64 {
        (f64::from(self.replicas) - 0.5) * CARRIES
    }

    /// The Deployment, with so many pods.
    pub(super) fn deployment(self, pods: u32, opted_in: bool) -> Value {
        let annotations = if opted_in { fast(&[]) } else { json!({}) };
        let mut object = deployment(NAMESPACE, &self.name(), pods, &annotations);
        let label = if self.is_served() {
            kubelet::LABEL
        } else {
            LABEL
        };
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({label: "true"});
        object
    }

    pub(super) fn service(self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name(), "namespace": NAMESPACE},
            "spec": {"selector": {"app": self.name()}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        })
    }
}

/// What happened to one cell.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each number of replicas asked for, and since when.
    pub(super) history: Vec<(i32, Instant)>,
    /// What became of its requests: the failed ones, and how many were answered.
    pub(super) failed: Vec<String>,
    pub(super) answered: u64,
}

/// When what was so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From when on the replicas are watched.
    pub(super) from: Instant,
    /// The end of the load of those without traffic, or when it could first be known.
    pub(super) idle: Instant,
    /// Whether they had a load before.
    pub(super) loaded_before: bool,
    /// Whether anybody scales after that.
    pub(super) scaled: bool,
}

impl Cell {
    /// What is wrong with what happened; `None`: nothing.
    pub(super) fn judge(self, seen: &Seen, times: &Times) -> Option<String> {
        let replicas = i32::try_from(self.replicas).unwrap_or(i32::MAX);
        let mut since: Vec<_> = seen.history.clone();
        // What it was at the beginning counts from there.
        let begin = since.iter().rposition(|(_, at)| *at <= times.from);
        since.drain(..begin.unwrap_or(0));
        let sequence = || {
            let numbers = since.iter().map(|(number, at)| {
                let after = at.checked_duration_since(times.idle);
                format!(
                    "{number}@{:.1}s",
                    after.unwrap_or(Duration::ZERO).as_secs_f64()
                )
            });
            numbers.collect::<Vec<_>>().join(" ")
        };
        let earliest = times.idle + WINDOW - BUCKET;
        let mut woken = false;
        for (number, at) in &since {
            let wrong = match (self.busy, self.replicas) {
                // What woke stays awake.
                (true, 0) => {
                    woken |= *number > 0 && *at > times.idle;
                    woken && *number == 0
                }
                (false, 0) => *number > 1,
                (true, _) => *number < needs(self.load(), Duration::ZERO),
                (false, _) if !times.scaled || *at < times.idle => {
                    *number < needs(self.load(), Duration::ZERO)
                }
                (false, _) if times.loaded_before => {
                    *number < needs(self.load(), at.duration_since(times.idle))
                }
                // Nothing is known of what was before: a whole window says it.
                (false, _) => *number < replicas && *at < earliest,
            };
            // Without a Service nobody would hear a request.
            if wrong || (!self.is_served() && *number == 0) {
                return Some(format!("fell: {}", sequence()));
            }
        }
        if let Some(first) = seen.failed.first() {
            return Some(format!(
                "{} of {} requests failed: {first}; {}",
                seen.failed.len(),
                seen.failed.len() as u64 + seen.answered,
                sequence()
            ));
        }
        None
    }

    /// Whether it has come down, as one without load is to.
    pub(super) fn has_shrunk(self, seen: &[(i32, Instant)]) -> bool {
        self.busy
            || self.replicas <= 1
            || seen
                .last()
                .is_some_and(|(last, _)| *last < self.replicas as i32)
    }
}
