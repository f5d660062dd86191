//! The failure scenarios.

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::api::path;
use ebb_e2e::{Mode, SOON};
use ebb_fixtures::{Signal, eventually, full};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::cells::{CELLS, NAMESPACE};
use super::world::{CANARY, Order, World};
use crate::light::WINDOW;

/// A failure scenario: one row of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// Autoscaler and agents start while the workloads already run.
    Start,
    /// Running workloads get the class annotation.
    OptIn,
    /// Running workloads lose the class annotation.
    OptOut,
    /// The only replica is killed, and restarts.
    Restart,
    /// The leader is killed, and a standby takes over.
    Failover,
    /// The leader is stopped for this number of seconds, beside a standby.
    Stopped(u64),
    /// Existing connections to the API server freeze; new ones work.
    Frozen,
    /// Each response of the API server takes two seconds longer.
    Slow,
    /// The API server is unreachable.
    Absent,
}

/// The lease duration of scenarios with a standby. Stops of 1 and 5 seconds are shorter, those of 20 and 60 seconds are
/// longer.
pub(super) const LEASE: Duration = Duration::from_secs(6);
/// The promised time within which a silent watch is noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// Four decisions and a window. An autoscaler that acts on missing data would have acted within this time.
const AFTER: Duration = Duration::from_secs(10);

impl Scenario {
    pub(super) fn name(self) -> String {
        match self {
            Self::Start => "start".to_owned(),
            Self::OptIn => "opt-in".to_owned(),
            Self::OptOut => "opt-out".to_owned(),
            Self::Restart => "restart".to_owned(),
            Self::Failover => "fail-over (kill -9)".to_owned(),
            Self::Stopped(seconds) => format!("leader stopped {seconds:>2} s"),
            Self::Frozen => "API connections frozen".to_owned(),
            Self::Slow => "API answers 2 s late".to_owned(),
            Self::Absent => "API away".to_owned(),
        }
    }

    /// True if there is a second replica.
    pub(super) fn has_standby(self) -> bool {
        matches!(self, Self::Failover | Self::Stopped(_))
    }

    /// True if the cells without traffic never had a load.
    pub(super) fn is_idle_from_the_start(self) -> bool {
        matches!(self, Self::Start | Self::OptIn)
    }

    /// True if the autoscaler scales the workloads afterwards.
    pub(super) fn scales_afterwards(self) -> bool {
        self != Self::OptOut
    }

    /// Runs the scenario and waits until it is over. Returns violations that are not of a cell.
    pub(super) fn happen(self, world: &mut World, order: Order) -> Vec<String> {
        let mut wrong = Vec::new();
        match self {
            Self::Start => {}
            Self::OptIn => {
                let annotations = crate::light::fast(&[("autoscaling.knative.dev/min-scale", "1")]);
                annotate(world, &json!(annotations));
                thread::sleep(WINDOW);
            }
            Self::OptOut => annotate(world, &json!({"autoscaling.knative.dev/class": null})),
            Self::Restart => {
                if order == Order::AutoscalerFirst {
                    world.end_agents();
                }
                world.replicas[0].kill();
                world.replicas[0].begin();
                world.await_leading(0);
                if order == Order::AutoscalerFirst {
                    // The autoscaler has had the time to act without any reports.
                    thread::sleep(AFTER);
                    world.start_agents();
                }
            }
            Self::Failover => {
                world.replicas[0].kill();
                world.await_leading(1);
            }
            Self::Stopped(seconds) => wrong = stopped(world, Duration::from_secs(seconds)),
            Self::Frozen => {
                world.way.freeze();
                wrong.extend(canary(world, 2, NOTICED_WITHIN + AFTER));
            }
            Self::Slow => {
                world.way.set(Mode::Late(Duration::from_secs(2)));
                thread::sleep(Duration::from_secs(20));
                world.way.set(Mode::Open);
                wrong.extend(canary(world, 2, NOTICED_WITHIN + AFTER));
            }
            Self::Absent => {
                world.way.set(Mode::Refused);
                thread::sleep(Duration::from_secs(if full() { 30 } else { 12 }));
                world.way.set(Mode::Open);
                wrong.extend(canary(world, 2, NOTICED_WITHIN + AFTER));
            }
        }
        thread::sleep(AFTER);
        wrong
    }
}

/// Changes the annotations in the pod templates of all cells.
fn annotate(world: &World, annotations: &serde_json::Value) {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    for cell in CELLS {
        let at = path("apps/v1", "Deployment", NAMESPACE, &cell.name());
        world.cluster.api().merge(&at, &patch).unwrap();
    }
}

/// Stops the leader. Once the standby leads, the old leader must write nothing more.
fn stopped(world: &mut World, time: Duration) -> Vec<String> {
    let leader = &world.replicas[0];
    leader.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    let mut taken = None;
    while begun.elapsed() < time {
        if taken.is_none() && world.replicas[1].is_leading() {
            taken = Some(Timestamp::now());
        }
        thread::sleep(Duration::from_millis(50));
    }
    leader.signal(Signal::SIGCONT);
    // Longer than a pending write may take.
    thread::sleep(Duration::from_secs(5));
    // A lease is valid for its duration, and candidates check it at least twice in that time. A loaded machine gets
    // some more.
    if time > LEASE * 2 && taken.is_none() {
        return vec!["the standby did not lead".to_owned()];
    }
    let Some(taken) = taken else {
        eventually("somebody leads", SOON, || {
            world
                .replicas
                .iter()
                .any(|replica| replica.is_leading())
                .then_some(())
        });
        return Vec::new();
    };
    let wrote = writes(world, leader.credential(), taken);
    match wrote.is_empty() {
        true => Vec::new(),
        false => vec![format!("the old leader wrote: {}", wrote.join(", "))],
    }
}

/// Writes with a token since a time, without those of the leader election and without queries that are sent as writes.
fn writes(world: &World, credential: &str, since: Timestamp) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let log = world.cluster.audit();
    let ours = log.iter().filter(|entry| {
        let at = text(&entry["requestReceivedTimestamp"]).parse::<Timestamp>();
        let whose = &entry["user"]["extra"]["authentication.kubernetes.io/credential-id"][0];
        *whose == *credential && at.is_ok_and(|at| at > since)
    });
    ours.filter(|entry| !matches!(&*text(&entry["verb"]), "get" | "list" | "watch"))
        .map(|entry| (text(&entry["verb"]), text(&entry["requestURI"])))
        .filter(|(_, uri)| !uri.contains("/leases") && !uri.contains("/tokenreviews"))
        .map(|(verb, uri)| format!("{verb} {uri}"))
        .collect()
}

/// A change that any healthy autoscaler follows.
fn canary(world: &World, pods: u64, within: Duration) -> Option<String> {
    let at = path("apps/v1", "Deployment", NAMESPACE, CANARY);
    let least = json!({"autoscaling.knative.dev/min-scale": pods.to_string()});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": least}}}});
    world.cluster.api().merge(&at, &patch).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < within {
        let object = world.cluster.api().get(&at).unwrap();
        if object["spec"]["replicas"] == pods {
            return None;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Some(format!("a change was not followed within {within:?}"))
}
