//! The events of a run: the documented output of `ebb run`, one event per line.
//!
//! The JSON keys are a stable interface that other programs read; keys may be added, but not renamed.

use std::{fmt, net::SocketAddr};

use ebb_autoscaler_local::Phase;
use serde::{Serialize, Serializer};

/// One line of output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// The run accepts requests from now on.
    Listening(Listening),
    /// The decision code has made a decision.
    Decision(Decision),
    /// A cold start: a replica became ready while no other replica was ready and a request was queued.
    ColdStart(ColdStart),
    /// A replica has a new state.
    Replica(ReplicaEvent),
}

/// The addresses of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Listening {
    /// The address that accepts requests. The port is the actual port, never 0.
    pub(crate) address: SocketAddr,
    /// The address of the live page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<SocketAddr>,
}

/// One decision, and the measured values and the reason that led to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Decision {
    /// Seconds since the start of the run.
    #[serde(serialize_with = "thousandths")]
    pub(crate) t: f64,
    /// Number of replicas that are alive, including those that are draining.
    pub(crate) replicas: usize,
    /// Number of ready replicas, without those that are draining.
    pub(crate) ready: usize,
    /// Mean requests in flight and queued since the last decision.
    #[serde(serialize_with = "thousandths")]
    pub(crate) concurrency: f64,
    /// Requests in flight at the replicas now.
    pub(crate) in_flight: u64,
    /// Requests queued at the activator now.
    pub(crate) queued: u64,
    /// Average of the scaling metric over the stable window; `null` without data.
    pub(crate) stable: Option<f64>,
    /// Average of the scaling metric over the panic window; `null` without data.
    pub(crate) panic: Option<f64>,
    /// Desired replicas.
    pub(crate) desired: u32,
    /// Whether the run is in panic mode.
    pub(crate) panic_mode: bool,
    /// Number of requests counted since the start of the run.
    pub(crate) requests: u64,
    /// The reason for the decision, in words.
    pub(crate) reason: String,
}

/// How long the oldest queued request waited until the first replica was ready.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct ColdStart {
    /// Seconds since the start of the run.
    #[serde(serialize_with = "thousandths")]
    pub(crate) t: f64,
    /// Time from the spawn of the replica's process until the replica was ready, in ms.
    #[serde(serialize_with = "thousandths")]
    pub(crate) start_ms: f64,
    /// Time from the arrival of the request until it was handed to the replica, in ms.
    #[serde(serialize_with = "thousandths")]
    pub(crate) waited_ms: f64,
    /// The delay that Ebb added to the start of the replica, in ms: `waited_ms` − `start_ms`.
    #[serde(serialize_with = "thousandths")]
    pub(crate) added_ms: f64,
}

/// A change of a replica's state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ReplicaEvent {
    /// Seconds since the start of the run.
    #[serde(serialize_with = "thousandths")]
    pub(crate) t: f64,
    /// The replica's number, counted from 1.
    pub(crate) replica: u64,
    /// The new state of the replica.
    pub(crate) state: ReplicaState,
    /// Further information, such as the reason for a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// The state of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReplicaState {
    /// The process of the replica runs.
    Started,
    /// The replica is ready and serves requests.
    Ready,
    /// The replica gets no new requests, and ends when its requests in flight are answered.
    Draining,
    /// The replica ended after the supervisor ordered it to stop.
    Stopped,
    /// The replica failed.
    Failed,
}

impl ReplicaState {
    /// Returns the phase of a replica in this state, as the autoscaler names it.
    pub(crate) fn phase(self) -> Phase {
        match self {
            ReplicaState::Started => Phase::Starting,
            ReplicaState::Ready => Phase::Ready,
            ReplicaState::Draining => Phase::Leaving,
            ReplicaState::Stopped | ReplicaState::Failed => Phase::Gone,
        }
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplicaState::Started => "started",
            ReplicaState::Ready => "ready",
            ReplicaState::Draining => "draining",
            ReplicaState::Stopped => "stopped",
            ReplicaState::Failed => "failed",
        })
    }
}

/// The text form of an event: `event key=value …`. A value that may contain spaces is last and in quotes.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening(listening) => {
                write!(f, "listening address={}", listening.address)?;
                match listening.page {
                    Some(page) => write!(f, " page=http://{page}/"),
                    None => Ok(()),
                }
            }
            Event::Decision(decision) => decision.fmt(f),
            Event::ColdStart(cold) => write!(
                f,
                "cold-start t={:.3} start_ms={:.1} waited_ms={:.1} added_ms={:.1}",
                cold.t, cold.start_ms, cold.waited_ms, cold.added_ms
            ),
            Event::Replica(replica) => {
                write!(
                    f,
                    "replica t={:.3} replica={} state={}",
                    replica.t, replica.replica, replica.state
                )?;
                match &replica.detail {
                    Some(detail) => write!(f, " detail={detail:?}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "decision t={:.1} replicas={} ready={} concurrency={:.2} in_flight={} queued={} stable={} panic={} desired={} \
             panic_mode={} requests={} reason={:?}",
            self.t,
            self.replicas,
            self.ready,
            self.concurrency,
            self.in_flight,
            self.queued,
            Average(self.stable),
            Average(self.panic),
            self.desired,
            self.panic_mode,
            self.requests,
            self.reason
        )
    }
}

/// Serialises `value` with three decimals: the measurements are not more precise, and the lines stay readable.
fn thousandths<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1_000.0).round() / 1_000.0)
}

/// Displays an average, or `-` without data.
pub(crate) struct Average(pub(crate) Option<f64>);

impl fmt::Display for Average {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:.2}"),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision() -> Decision {
        Decision {
            t: 12.0,
            replicas: 3,
            ready: 3,
            concurrency: 27.125,
            in_flight: 28,
            queued: 0,
            stable: Some(12.5),
            panic: None,
            desired: 3,
            panic_mode: true,
            requests: 1234,
            reason: "panic".to_owned(),
        }
    }

    #[test]
    fn json_is_as_promised() {
        let json = |event| serde_json::to_string(&event).unwrap();
        assert_eq!(
            json(Event::Decision(decision())),
            r#"{"event":"decision","t":12.0,"replicas":3,"ready":3,"concurrency":27.125,"in_flight":28,"queued":0,"#.to_owned()
                + r#""stable":12.5,"panic":null,"desired":3,"panic_mode":true,"requests":1234,"reason":"panic"}"#
        );
        let address = ([127, 0, 0, 1], 8080).into();
        assert_eq!(
            json(Event::Listening(Listening {
                address,
                page: None
            })),
            r#"{"event":"listening","address":"127.0.0.1:8080"}"#
        );
        let replica = ReplicaEvent {
            t: 1.5,
            replica: 7,
            state: ReplicaState::Draining,
            detail: None,
        };
        assert_eq!(
            json(Event::Replica(replica)),
            r#"{"event":"replica","t":1.5,"replica":7,"state":"draining"}"#
        );
    }

    #[test]
    fn text_is_key_and_value() {
        assert_eq!(
            Event::Decision(decision()).to_string(),
            "decision t=12.0 replicas=3 ready=3 concurrency=27.12 in_flight=28 queued=0 stable=12.50 panic=- desired=3 \
             panic_mode=true requests=1234 reason=\"panic\""
        );
        let cold = ColdStart {
            t: 3.0,
            start_ms: 21.04,
            waited_ms: 24.0,
            added_ms: 2.96,
        };
        assert_eq!(
            Event::ColdStart(cold).to_string(),
            "cold-start t=3.000 start_ms=21.0 waited_ms=24.0 added_ms=3.0"
        );
    }
}
