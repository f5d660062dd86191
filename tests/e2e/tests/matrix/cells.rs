//! The cells of a row, and the checks of what the API server saw of them.

use std::time::{Duration, Instant};

use ebb_e2e::simulated::LABEL;
use ebb_e2e::{deployment, kubelet};
use serde_json::{Value, json};

use crate::light::{BUCKET, CARRIES, WINDOW, fast, needs};

/// Replicas and traffic of one Deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) replicas: u32,
    pub(super) busy: bool,
}

/// All cells of a row.
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

/// The namespace of all cells.
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

    /// True if the cell's pods are processes behind a Service.
    pub(super) fn is_served(self) -> bool {
        self.replicas <= 1
    }

    /// The load that the replicas carry if they are simulated: midway between the loads of one pod fewer and of all
    /// pods.
    pub(super) fn load(self) -> f64 {
        (f64::from(self.replicas) - 0.5) * CARRIES
    }

    /// The Deployment, with `pods` requested replicas.
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

/// The observations of one cell.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Each number of requested replicas, and when it was first seen.
    pub(super) history: Vec<(i32, Instant)>,
    /// The failed requests, and the number of answered ones.
    pub(super) failed: Vec<String>,
    pub(super) answered: u64,
}

/// The times of one run, and what happened in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When observation of the replicas begins.
    pub(super) from: Instant,
    /// When the load of the cells without traffic ended, or when its end could first be known.
    pub(super) idle: Instant,
    /// True if the cells without traffic had a load before.
    pub(super) loaded_before: bool,
    /// True if the autoscaler scales the workloads after the scenario.
    pub(super) scaled: bool,
}

impl Cell {
    /// Checks what happened, and returns the violation; `None`: there is none.
    pub(super) fn judge(self, seen: &Seen, times: &Times) -> Option<String> {
        let replicas = i32::try_from(self.replicas).unwrap_or(i32::MAX);
        let mut since: Vec<_> = seen.history.clone();
        // The number at the beginning counts from the beginning.
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
                // A workload that has been woken stays awake.
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
                // No load is known from before, so a whole window must show that there is none.
                (false, _) => *number < replicas && *at < earliest,
            };
            // Without a Service nothing would receive a request and wake the workload.
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

    /// True if the replicas were reduced, as they should be without load.
    pub(super) fn has_shrunk(self, seen: &[(i32, Instant)]) -> bool {
        self.busy
            || self.replicas <= 1
            || seen
                .last()
                .is_some_and(|(last, _)| *last < self.replicas as i32)
    }
}
