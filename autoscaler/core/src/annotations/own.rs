//! Parses the values of Ebb's own annotation keys.

use ebb_contract::limits::{MAX_EXCLUDED_PATH, MAX_PORTS, is_excludable};

use crate::problem::Fault;

/// Whether decisions are applied: `ebb.dev/mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Decide and scale the workload: the mode of a workload without the annotation. With the annotation, every value
    /// other than `recommend` is an error.
    #[default]
    Act,
    /// Decide and show the decision, but do not scale the workload.
    Recommend,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "recommend" => Ok(Self::Recommend),
            _ => Err(Fault::Invalid {
                value: text.to_owned(),
                allowed: "recommend (without the annotation, decisions are applied)",
            }),
        }
    }
}

/// The hop at which the requests of a pod with a sidecar are counted: `ebb.dev/hop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Connections from outside the pod: usually those to the sidecar.
    Edge,
    /// Connections to the application: the last hop. The default for pods with a mesh sidecar.
    App,
}

impl Hop {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "edge" => Ok(Self::Edge),
            "app" => Ok(Self::App),
            _ => Err(Fault::Invalid {
                value: text.to_owned(),
                allowed: "edge or app",
            }),
        }
    }
}

/// Largest hard limit, the same as for Knative's `containerConcurrency` (`container-concurrency-max-limit`).
const MOST_HARD_LIMIT: u32 = 1000;

/// Parses the hard limit of concurrent requests on one pod: 0 for no limit, at most 1000.
pub(super) fn hard_limit(text: &str) -> Result<u32, Fault> {
    text.parse()
        .ok()
        .filter(|&limit| limit <= MOST_HARD_LIMIT)
        .ok_or_else(|| Fault::Invalid {
            value: text.to_owned(),
            allowed: "a whole number from 0 to 1000, 0 for no limit",
        })
}

/// Parses the ports whose connections are counted: `80,8080`. Spaces around a comma are allowed. A port that is named
/// twice counts once.
pub(super) fn ports(text: &str) -> Result<Vec<u16>, Fault> {
    let invalid = || Fault::Invalid {
        value: text.to_owned(),
        allowed: "port numbers from 1 to 65535, separated by commas",
    };
    let mut ports = Vec::new();
    for port in text.split(',') {
        let port = port.trim().parse().ok().filter(|&port: &u16| port != 0);
        let port = port.ok_or_else(invalid)?;
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    match ports.len() {
        0..=MAX_PORTS => Ok(ports),
        count => Err(Fault::Conflict(format!(
            "invalid value {text:?}: {count} ports; at most {MAX_PORTS} are allowed"
        ))),
    }
}

/// Parses the paths whose requests are not counted: `/metrics,/healthz`.
pub(super) fn exclude_paths(text: &str) -> Result<Vec<String>, Fault> {
    let parse = |path: &str| match is_excludable(path) {
        true => Ok(path.to_owned()),
        false => Err(Fault::Conflict(format!(
            "invalid path {path:?}: must start with /, have at most {MAX_EXCLUDED_PATH} bytes, and contain only \
             visible ASCII characters other than ?"
        ))),
    };
    text.split(',').map(|path| parse(path.trim())).collect()
}
