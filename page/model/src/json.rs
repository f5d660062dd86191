//! The JSON of `/v1/workloads` and of the event streams. Other programs rely on these keys.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A word of a fixed set. Its text is allocated only if the word was parsed from JSON.
pub type Word = Cow<'static, str>;

/// Identifies a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace.
    pub namespace: String,
    /// Kind of the workload. The API group can follow, to distinguish equal kinds of two groups: `Deployment.apps`.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Name {
    /// Formats the name of a workload as in URL paths: `shop/Deployment/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        let mut parts = path.split('/');
        let mut next = || {
            let part = parts.next().filter(|part| !part.is_empty());
            part.map(str::to_owned).ok_or(())
        };
        let name = Self {
            namespace: next()?,
            kind: next()?,
            name: next()?,
        };
        parts.next().map_or(Ok(name), |_| Err(()))
    }
}

/// The program that sends the response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Name of the program: `ebb-autoscaler` or `ebb run`.
    pub program: Word,
    /// Version of the program.
    pub version: Word,
    /// Name of the replica.
    pub replica: String,
    /// True if this replica is the leader.
    pub leading: bool,
}

/// The response to `GET /v1/workloads`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct All {
    /// The program that sends the response.
    #[serde(flatten)]
    pub about: About,
    /// The workloads in the order of their names: all of them, or as many as fit into one response.
    pub workloads: Vec<Workload>,
    /// Start of the next part, to be sent as `continue` in the next query. `None` if this is the last part.
    #[serde(rename = "continue", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Kind.
    pub kind: String,
    /// API group of the kind.
    pub group: String,
    /// Name.
    pub name: String,
    /// The mode: `act`, `recommend`, `paused` or `not_scaled`.
    pub mode: Word,
    /// Why the workload is not scaled: invalid configuration, or a conflicting autoscaler.
    pub not_scaled: Option<String>,
    /// Requested replicas (`spec.replicas`).
    pub requested_replicas: u32,
    /// Ready replicas; `None` before the first decision.
    pub ready_replicas: Option<u32>,
    /// Desired replicas, within `min-scale` and `max-scale`; `None` before the first decision with data.
    pub desired_replicas: Option<u32>,
    /// The reason for the desired replicas, in words.
    pub reason: Option<String>,
    /// Time of the last decision, seconds since 1970.
    pub decided_at: Option<f64>,
    /// The metric that is compared with the target: `concurrency` or `rps`.
    pub metric: Option<Word>,
    /// Target per pod, in the unit of `metric`.
    pub target: Option<f64>,
    /// Average of `metric` over the stable window; `None` without data.
    pub stable: Option<f64>,
    /// Average of `metric` over the panic window; `None` without data.
    pub panic: Option<f64>,
    /// True in panic mode: a burst is in progress, and the workload is not scaled down.
    pub panic_mode: bool,
    /// Excess burst capacity in requests: the capacity of the ready pods, minus the concurrency and
    /// `target-burst-capacity`. If the excess burst capacity is below zero, activators are put into the request path.
    pub excess_burst_capacity: Option<i32>,
    /// Requests in flight, according to the last reports about the workload's pods.
    pub in_flight: u64,
    /// Opaque connections, whose bytes cannot be parsed. They are included in `in_flight`, one request each.
    pub opaque: u64,
    /// Requests queued at activators, waiting for a pod.
    pub queued: u64,
    /// Hard limit: the maximum number of requests in flight per pod. `None` means no limit.
    pub hard_limit: Option<u32>,
    /// Services whose requests to this workload can be queued at activators.
    pub services: Vec<String>,
    /// True if the activators must be in the request path of the workload.
    pub activator_in_path: bool,
    /// True if it is confirmed that all requests to the workload go through activators: the EndpointSlices name the
    /// activators, and each activator reports that it listens.
    pub path_confirmed: bool,
    /// Number of pods that may be serving and have no current metrics. If there are any, the workload is not scaled
    /// down.
    pub pods_without_metrics: usize,
    /// Names of some of the pods without current metrics.
    pub without_metrics: Vec<String>,
    /// The missing information that prevents a scale-down of the workload. `None` if no information is missing.
    #[serde(default)]
    pub unknown: Option<Unknown>,
    /// The hops at which the pods are counted; the hop of most pods first. Empty before the first report.
    #[serde(default)]
    pub counted_at: Vec<CountedAt>,
    /// Some of the pods that are not counted.
    #[serde(default)]
    pub not_counted: Vec<NotCounted>,
    /// The last change of the workload's requested replicas.
    pub scaled: Option<Scaled>,
}

/// The hop at which pods of a workload are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedAt {
    /// The hop: `edge`, `app` or `ports`.
    pub hop: String,
    /// The reason for the hop: `annotation`, `default`, or the name of the sidecar that was found.
    pub reason: String,
    /// The ports whose connections are counted. Empty: every port that listens.
    pub ports: Vec<u16>,
    /// True if only connections from inside the pod are counted.
    pub only_inside: bool,
    /// Number of pods that are counted so.
    pub pods: u32,
    /// All of this, in words.
    pub text: String,
    /// What to do about it, in words; `None` if there is nothing to do.
    pub advice: Option<String>,
}

/// A pod that is not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCounted {
    /// Name of the pod.
    pub pod: String,
    /// The reason, in words.
    pub why: String,
}

/// Missing information about a workload. As long as the information is missing, the workload is not scaled down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The kind of missing information, for programs: `facts`, `owners`, `unmeasured`, `window` or `metrics`.
    pub what: Word,
    /// The explanation, for people.
    pub why: String,
}

impl Workload {
    /// Returns the name of the workload, with the API group after the kind.
    #[must_use]
    pub fn id(&self) -> Name {
        let kind = match &*self.group {
            "" => self.kind.clone(),
            group => format!("{}.{group}", self.kind),
        };
        Name {
            namespace: self.namespace.clone(),
            kind,
            name: self.name.clone(),
        }
    }

    /// Returns whether the workload needs attention: it is not scaled, it has pods without current metrics, other
    /// information is missing, or it has fewer ready than requested replicas.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.not_scaled.is_some()
            || self.pods_without_metrics > 0
            || self.unknown.as_ref().is_some_and(Unknown::needs_attention)
            || self
                .ready_replicas
                .is_some_and(|ready| ready < self.requested_replicas)
    }
}

impl Unknown {
    /// Returns whether the missing information needs attention. Pods that are starting and windows that are not full
    /// yet need no attention.
    fn needs_attention(&self) -> bool {
        !matches!(&*self.what, "unmeasured" | "window")
    }
}

/// A change of a workload's requested replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaled {
    /// Time of the change, in seconds since 1970.
    pub at: f64,
    /// Replicas before the change.
    pub from: u32,
    /// Replicas after the change.
    pub to: u32,
    /// The reason for the change.
    pub reason: String,
    /// The error, if the change failed.
    pub error: Option<String>,
}

/// The response to `GET /v1/workloads/NAMESPACE/KIND/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// The current state of the workload.
    pub workload: Workload,
    /// The settings in force.
    pub settings: Vec<Setting>,
    /// The last decisions that differed from the decision before them, newest first.
    pub decisions: Vec<Line>,
    /// The points of the last hour, oldest first.
    pub history: Vec<Point>,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key, as in the ConfigMap `config-autoscaler` or in the annotation.
    pub key: Word,
    /// The value of the setting.
    pub value: String,
    /// Where the value is set: `annotation`, `config` (the ConfigMap) or `default`.
    pub from: Word,
}

/// A decision about a workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Time of the decision, in seconds since 1970.
    pub at: f64,
    /// Ready replicas.
    pub ready_replicas: Option<u32>,
    /// Desired replicas.
    pub desired_replicas: Option<u32>,
    /// True in panic mode.
    pub panic_mode: bool,
    /// The reason, in words.
    pub reason: String,
}

/// A point of the charts: the averages and replicas of a workload at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Time, in seconds since 1970.
    pub t: u64,
    /// Requests in flight, including queued requests. If a point covers several decisions, this is the maximum.
    pub concurrency: f32,
    /// Average of the workload's metric over the stable window. Negative if there is no data.
    pub stable: f32,
    /// Average of the workload's metric over the panic window. Negative if there is no data.
    pub panic: f32,
    /// Ready replicas.
    pub ready: u16,
    /// Requested replicas.
    pub requested: u16,
    /// Desired replicas.
    pub desired: u16,
    /// True in panic mode.
    pub panic_mode: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let name: Name = "shop/Deployment.apps/web".parse().unwrap();
        assert_eq!(name.to_string(), "shop/Deployment.apps/web");
        for bad in ["", "shop", "shop/web", "a//c", "a/b/c/d", "/a/b/c"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let workload = Workload {
            mode: "act".into(),
            ready_replicas: Some(2),
            requested_replicas: 3,
            ..Workload::default()
        };
        let all = All {
            about: About {
                program: "ebb run".into(),
                version: "1".into(),
                replica: "r".into(),
                leading: true,
            },
            workloads: vec![workload],
            next: None,
        };
        let text = serde_json::to_string(&all).unwrap();
        assert!(text.contains(r#""replica":"r","leading":true,"workloads":[{"#));
        assert_eq!(serde_json::from_str::<All>(&text).unwrap(), all);
        assert!(all.workloads[0].needs_attention());
    }
}
