//! The workloads of the test matrix, and the checks of each workload's replicas and requests. Each workload is one cell
//! of the table that the test prints.

use std::time::{Duration, Instant};

use ebb_e2e::simulated::LABEL;
use ebb_e2e::{deployment, kubelet};
use serde_json::{Value, json};

use crate::light::{BUCKET, CARRIES, WINDOW, fast, needs};

/// One cell of the test matrix: a Deployment with this number of replicas, with traffic (`busy`) or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) replicas: u32,
    pub(super) busy: bool,
}

/// All cells of a row of the test matrix: the workloads that run at the same time in one scenario.
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

/// The namespace of all workloads of the test matrix.
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

    /// Returns whether the workload's pods are processes behind a Service. Other workloads have simulated pods.
    pub(super) fn is_served(self) -> bool {
        self.replicas <= 1
    }

    /// Returns the concurrency of a workload with simulated pods. The workload needs all its pods for this concurrency:
    /// one pod fewer could not carry it.
    pub(super) fn load(self) -> f64 {
        (f64::from(self.replicas) - 0.5) * CARRIES
    }

    /// Returns the workload's Deployment, with `pods` requested replicas.
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

/// The observations of one workload of the test matrix.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// All values of the requested replicas, each with the time of the change.
    pub(super) history: Vec<(i32, Instant)>,
    /// The errors of the failed requests (`failed`), and the number of answered requests (`answered`).
    pub(super) failed: Vec<String>,
    pub(super) answered: u64,
}

/// Times and properties of one run of a scenario.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Time from which the replicas are checked.
    pub(super) from: Instant,
    /// Time from which the workloads without traffic have no load. If Ebb never counted a load of these workloads: the
    /// time from which Ebb could observe that they have none.
    pub(super) idle: Instant,
    /// True if Ebb counted a load of the workloads without traffic before the time `idle`.
    pub(super) loaded_before: bool,
    /// Whether the autoscaler still scales the workloads when the scenario is over.
    pub(super) scaled: bool,
}

impl Cell {
    /// Checks the workload's replicas and requests, and returns the violation of a rule; `None` if there is no
    /// violation.
    pub(super) fn verdict(self, seen: &Observed, times: &Times) -> Option<String> {
        let replicas = i32::try_from(self.replicas).unwrap_or(i32::MAX);
        let mut since: Vec<_> = seen.history.clone();
        // The last change before `times.from` is kept: it sets the number of replicas at the beginning.
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
                // A workload with traffic that was scaled up from zero must not be scaled to zero again.
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
                // Ebb does not know the load before the time `idle`. So it must not remove replicas until it has
                // counted no load for a whole window.
                (false, _) => *number < replicas && *at < earliest,
            };
            // A workload without a Service must not be scaled to zero: no activator could scale it up again.
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

    /// Returns whether the number of replicas has fallen. Also true if the workload is not expected to scale down,
    /// because it has traffic or at most one replica.
    pub(super) fn has_shrunk(self, seen: &[(i32, Instant)]) -> bool {
        self.busy
            || self.replicas <= 1
            || seen
                .last()
                .is_some_and(|(last, _)| *last < self.replicas as i32)
    }
}
