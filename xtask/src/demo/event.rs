//! Parses the lines that `ebb run --json` prints.

use serde::{Deserialize, Serialize};

/// One line of `ebb run --json`. Each `t` is in seconds since the start of the run.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// `ebb run` accepts requests from now on.
    Listening {
        /// The address, as `HOST:PORT`.
        address: String,
    },
    /// A decision on the number of replicas.
    Decision(Decision),
    /// The wait of a request that arrived while there was no replica.
    ColdStart(ColdStart),
    /// A replica has a new state.
    Replica {
        t: f64,
        /// The number of the replica.
        replica: u64,
        /// `started`, `ready`, `draining`, `stopped` or `failed`.
        state: State,
    },
    /// An event of a type that the demo does not use.
    #[serde(other)]
    Other,
}

/// The state of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    Started,
    Ready,
    Draining,
    Stopped,
    Failed,
}

/// A decision, and the measured values and the reason that led to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Decision {
    pub(super) t: f64,
    /// Number of replicas that are alive.
    pub(super) replicas: u32,
    /// Number of ready replicas.
    pub(super) ready: u32,
    /// Mean number of requests in flight and queued since the previous decision.
    pub(super) concurrency: f64,
    /// Requests in flight at the time of the decision.
    pub(super) in_flight: u64,
    /// Requests queued at the time of the decision.
    pub(super) queued: u64,
    /// Average over the stable window; `None` without data.
    pub(super) stable: Option<f64>,
    /// Average over the panic window; `None` without data.
    pub(super) panic: Option<f64>,
    pub(super) desired: u32,
    pub(super) panic_mode: bool,
    /// Number of requests counted since the start of the run.
    pub(super) requests: u64,
    #[serde(default)]
    pub(super) reason: String,
}

/// The wait of the first request at zero replicas.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct ColdStart {
    pub(super) t: f64,
    /// Time from the start of the replica until it was ready, in ms.
    pub(super) start_ms: f64,
    /// Time from the arrival of the request until a replica received it, in ms.
    pub(super) waited_ms: f64,
    /// The delay that Ebb added to the start of the replica, in ms: `waited_ms` − `start_ms`.
    pub(super) added_ms: f64,
}

impl Event {
    /// Returns the time of the event, if the event has one.
    pub(super) fn t(&self) -> Option<f64> {
        match self {
            Self::Decision(decision) => Some(decision.t),
            Self::ColdStart(cold) => Some(cold.t),
            Self::Replica { t, .. } => Some(*t),
            Self::Listening { .. } | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_ebb_run_are_understood() {
        let lines = [
            r#"{"event":"listening","address":"127.0.0.1:8080"}"#,
            r#"{"event":"replica","t":1.0,"replica":1,"state":"ready","detail":"after 12 ms"}"#,
            r#"{"event":"cold-start","t":1.0,"start_ms":12.5,"waited_ms":13,"added_ms":0.5}"#,
            r#"{"event":"decision","t":2.0,"replicas":1,"ready":1,"concurrency":0.5,"in_flight":1,"queued":0,
                "stable":0.5,"panic":null,"desired":1,"panic_mode":false,"requests":1,"reason":"steady"}"#,
            r#"{"event":"from-the-future","x":1}"#,
        ];
        let events = lines.map(|line| serde_json::from_str::<Event>(line).unwrap());
        assert!(matches!(&events[0], Event::Listening { address } if address == "127.0.0.1:8080"));
        assert!(matches!(
            events[1],
            Event::Replica {
                replica: 1,
                state: State::Ready,
                ..
            }
        ));
        assert!(matches!(&events[2], Event::ColdStart(cold) if cold.added_ms == 0.5));
        let Event::Decision(decision) = &events[3] else {
            panic!("{:?}", events[3]);
        };
        assert_eq!((decision.stable, decision.panic), (Some(0.5), None));
        assert!(matches!(events[4], Event::Other));
        assert_eq!(
            events.map(|event| event.t()),
            [None, Some(1.0), Some(1.0), Some(2.0), None]
        );
    }
}
