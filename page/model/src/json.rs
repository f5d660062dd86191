//! The JSON of `/v1/workloads` and of the event streams. Other programs read these keys.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A word of a fixed set; owned only if it was read from JSON.
pub type Word = Cow<'static, str>;

/// Identifies a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace.
    pub namespace: String,
    /// Kind. The group can follow, to distinguish equal kinds of two groups: `Deployment.apps`.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Name {
    /// The form in paths: `shop/Deployment/web`.
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

/// The program that answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `ebb-autoscaler` or `ebb run`.
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
    /// The program that answers.
    #[serde(flatten)]
    pub about: About,
    /// The workloads in the order of their names: all, or as many as one response may have.
    pub workloads: Vec<Workload>,
    /// Start of the next part, to be passed as `continue` in the query. `None` if this is the last part.
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
    /// `act`, `recommend`, `paused` or `not_scaled`.
    pub mode: Word,
    /// Why it is not scaled: invalid configuration, or a conflicting autoscaler.
    pub not_scaled: Option<String>,
    /// Requested replicas (`spec.replicas`).
    pub requested_replicas: u32,
    /// Ready replicas; `None` before the first decision.
    pub ready_replicas: Option<u32>,
    /// Desired replicas, within `min-scale` and `max-scale`; `None` before the first decision with data.
    pub desired_replicas: Option<u32>,
    /// Why these replicas are desired, in words.
    pub reason: Option<String>,
    /// Time of the last decision, seconds since 1970.
    pub decided_at: Option<f64>,
    /// The metric that is compared with the target: `concurrency` or `rps`.
    pub metric: Option<Word>,
    /// Target per pod, in units of `metric`.
    pub target: Option<f64>,
    /// Average of `metric` over the stable window; `None` without data.
    pub stable: Option<f64>,
    /// Average of `metric` over the panic window; `None` without data.
    pub panic: Option<f64>,
    /// True in panic mode: during a burst the workload is not scaled down.
    pub panic_mode: bool,
    /// Excess burst capacity, in requests: the capacity of the ready pods, less concurrency and `target-burst-capacity`. Below
    /// zero the activator joins the request path.
    pub excess_burst_capacity: Option<i32>,
    /// Requests in flight, from the last reports of its pods.
    pub in_flight: u64,
    /// Part of `in_flight`: connections that cannot be read, one request each.
    pub opaque: u64,
    /// Requests queued at activators, waiting for a pod.
    pub queued: u64,
    /// Hard limit: the most requests in flight at one pod; `None` for no limit.
    pub hard_limit: Option<u32>,
    /// Services whose requests for this workload can be queued.
    pub services: Vec<String>,
    /// True if the activators must be in the request path of the workload.
    pub activator_in_path: bool,
    /// True if the path switch is confirmed: activators and EndpointSlices both say so.
    pub path_confirmed: bool,
    /// Pods that may be serving and have no current metrics. While there are any, the workload is not scaled down.
    pub pods_without_metrics: usize,
    /// Names of some of the pods without current metrics.
    pub without_metrics: Vec<String>,
    /// Missing information, because of which the workload is not scaled down; `None` if nothing is missing.
    #[serde(default)]
    pub unknown: Option<Unknown>,
    /// The last change of its scale.
    pub scaled: Option<Scaled>,
}

/// Missing information about a workload. While any is missing, the workload is not scaled down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The kind, for programs: `facts`, `owners`, `unmeasured`, `window` or `metrics`.
    pub what: Word,
    /// The explanation, for people.
    pub why: String,
}

impl Workload {
    /// Returns the name of the workload, with the group after the kind.
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

    /// True if the workload needs attention: it is not scaled, pods have no current metrics, other information is
    /// missing, or it has fewer ready than requested replicas.
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
    /// True if the missing information needs attention. Starting pods and filling windows do not.
    fn needs_attention(&self) -> bool {
        !matches!(&*self.what, "unmeasured" | "window")
    }
}

/// A change of a scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaled {
    /// When, seconds since 1970.
    pub at: f64,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
    /// Why.
    pub reason: String,
    /// The error, if the change failed.
    pub error: Option<String>,
}

/// The response to `GET /v1/workloads/NAMESPACE/KIND/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// The current state.
    pub workload: Workload,
    /// The settings in force.
    pub settings: Vec<Setting>,
    /// The last decisions that differed from the one before, newest first.
    pub decisions: Vec<Line>,
    /// The last hour, oldest first.
    pub history: Vec<Point>,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key, as in `config-autoscaler` or in the annotation.
    pub key: Word,
    /// The value.
    pub value: String,
    /// The source: `annotation`, `config` or `default`.
    pub from: Word,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, seconds since 1970.
    pub at: f64,
    /// Ready replicas.
    pub ready_replicas: Option<u32>,
    /// Desired replicas.
    pub desired_replicas: Option<u32>,
    /// True in panic mode.
    pub panic_mode: bool,
    /// Why, in words.
    pub reason: String,
}

/// Figures of a workload at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since 1970.
    pub t: u64,
    /// Requests in flight, queued ones included. A point that covers several seconds has their maximum.
    pub concurrency: f32,
    /// Average over the stable window; less than 0 without data.
    pub stable: f32,
    /// Average over the panic window; less than 0 without data.
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
