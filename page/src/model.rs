//! What is shown: the JSON of `/v1/workloads` and of the events. Keys are an interface; add, but do not rename.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A word of a fixed set, owned only where it was read from JSON.
pub type Word = Cow<'static, str>;

/// Which workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace.
    pub namespace: String,
    /// Kind; where two groups have the same, with the group behind it: `Deployment.apps`.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Name {
    /// As in paths: `shop/Deployment/web`.
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

/// Who tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// `ebb-autoscaler` or `ebb run`.
    pub program: Word,
    /// Of the program.
    pub version: Word,
    /// Which replica.
    pub replica: String,
    /// Whether it is the one that acts.
    pub leading: bool,
}

/// The answer to `GET /v1/workloads`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct All {
    /// Who tells.
    #[serde(flatten)]
    pub about: About,
    /// All workloads, or as many as an answer may have, in the order of their names.
    pub workloads: Vec<Workload>,
    /// Where the next part begins: to be given as `continue` in the query. `None` if this is the last one.
    #[serde(rename = "continue", default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Kind of what is scaled.
    pub kind: String,
    /// API group of it.
    pub group: String,
    /// Name of it.
    pub name: String,
    /// `act`, `recommend`, `refused` or `paused`.
    pub mode: Word,
    /// Why it is not scaled, where it is refused.
    pub refused: Option<String>,
    /// Pods it is asked to have.
    pub replicas: u32,
    /// Pods that can take requests; `None` before the first decision.
    pub ready: Option<u32>,
    /// Pods wanted, bounds included; `None` as long as nothing is known.
    pub desired: Option<u32>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When that was decided, seconds since 1970.
    pub decided_at: Option<f64>,
    /// What is compared with the target: `concurrency` or `rps`.
    pub metric: Option<Word>,
    /// Load a pod is meant to carry.
    pub target: Option<f64>,
    /// Average over the stable window; `None` without data.
    pub stable: Option<f64>,
    /// Average over the panic window.
    pub panic: Option<f64>,
    /// Whether it is a panic.
    pub panic_mode: bool,
    /// Requests in flight that there is room for beyond the load and the reserve; below zero an activator belongs in
    /// the path.
    pub excess_burst_capacity: Option<i32>,
    /// Requests in flight when its pods were last heard of.
    pub in_flight: u64,
    /// Of these, connections whose bytes cannot be read.
    pub opaque: u64,
    /// Requests that wait for a pod, at activators.
    pub held: u64,
    /// Most requests on a pod at a time; `None` for no limit.
    pub hard_limit: Option<u32>,
    /// Services at which its requests can be held.
    pub services: Vec<String>,
    /// Whether activators are to be in its path.
    pub in_path: bool,
    /// Whether they are, as far as they and the API server can tell.
    pub in_place: bool,
    /// Pods that may be serving and are not heard of; while there are any the workload does not shrink.
    pub silent_pods: usize,
    /// Some of them by name.
    pub silent: Vec<String>,
    /// What is not known of it, and therefore keeps it from shrinking; `None` if all is known.
    #[serde(default)]
    pub unknown: Option<Unknown>,
    /// The last change of its scale.
    pub scaled: Option<Scaled>,
}

/// What is not known of a workload. While there is such a thing, the workload does not shrink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// For machines: `facts`, `owners`, `unmeasured`, `window` or `metrics`.
    pub what: Word,
    /// For people.
    pub why: String,
}

impl Workload {
    /// Its name, the group behind the kind.
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

    /// Whether somebody should look at it: refused, not all of it known, or fewer pods than it asks for.
    #[must_use]
    pub fn needs_attention(&self) -> bool {
        self.refused.is_some()
            || self.silent_pods > 0
            || self.unknown.as_ref().is_some_and(Unknown::needs_attention)
            || self.ready.is_some_and(|ready| ready < self.replicas)
    }
}

impl Unknown {
    /// Whether somebody should look at it: pods that start, and time that passes, are no reason.
    fn needs_attention(&self) -> bool {
        !matches!(&*self.what, "unmeasured" | "window")
    }
}

/// A change of a scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaled {
    /// When, seconds since 1970.
    pub at: f64,
    /// Pods before.
    pub from: u32,
    /// Pods after.
    pub to: u32,
    /// Why.
    pub reason: String,
    /// Why it could not be done, if so.
    pub error: Option<String>,
}

/// The answer to `GET /v1/workloads/NAMESPACE/KIND/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// How it stands.
    pub workload: Workload,
    /// What holds for it.
    pub settings: Vec<Setting>,
    /// The last decisions that differed from the one before, newest first.
    pub decisions: Vec<Line>,
    /// The last hour, oldest first.
    pub history: Vec<Point>,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// As in `config-autoscaler`, or as the annotation has it.
    pub key: Word,
    /// Its value.
    pub value: String,
    /// `annotation`, `config` or `default`.
    pub from: Word,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, seconds since 1970.
    pub at: f64,
    /// Pods that were ready.
    pub ready: Option<u32>,
    /// Pods wanted.
    pub desired: Option<u32>,
    /// Whether it was a panic.
    pub panic_mode: bool,
    /// Why, in words.
    pub reason: String,
}

/// How a workload stood at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since 1970.
    pub t: u64,
    /// Requests in flight, those that wait included; the most where a point stands for a stretch of time.
    pub load: f32,
    /// Average over the stable window; less than 0 without data.
    pub stable: f32,
    /// Average over the panic window; less than 0 without data.
    pub panic: f32,
    /// Pods that could take requests.
    pub ready: u16,
    /// Pods it was asked to have.
    pub replicas: u16,
    /// Pods wanted.
    pub desired: u16,
    /// Whether it was a panic.
    pub panicking: bool,
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
            ready: Some(2),
            replicas: 3,
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
