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
    /// Autoscaler and agents start for the first time; the workloads already run.
    Start,
    /// Running workloads opt in: they get the class annotation.
    OptIn,
    /// Running workloads opt out: they lose the class annotation.
    OptOut,
    /// The only autoscaler replica is killed and restarts.
    Restart,
    /// The leading autoscaler replica is killed, and a standby becomes the leader.
    Failover,
    /// The leading autoscaler replica is stopped (SIGSTOP) for this number of seconds, while a standby runs.
    Stopped(u64),
    /// Existing connections to the API server freeze: they stay open, but no byte passes through them. New connections
    /// are not frozen.
    Frozen,
    /// Each response of the API server is delayed by 2 s.
    Slow,
    /// The API server is unreachable.
    Absent,
}

/// The lease duration. Some scenarios stop the leader for 1 s or 5 s, which is shorter than the lease, others for 20 s
/// or 60 s, which is longer.
pub(super) const LEASE: Duration = Duration::from_secs(6);
/// The promised time within which the autoscaler notices that its watches deliver no more events.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// Waiting time after a scenario: a window (6 s) and two decision intervals (2 s each). An autoscaler that acted on
/// missing data would scale down within this time.
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

    /// Returns whether there is a second autoscaler replica.
    pub(super) fn has_standby(self) -> bool {
        matches!(self, Self::Failover | Self::Stopped(_))
    }

    /// Returns whether Ebb never counts a load of the workloads without traffic in this scenario.
    pub(super) fn is_idle_from_the_start(self) -> bool {
        matches!(self, Self::Start | Self::OptIn)
    }

    /// Returns whether the autoscaler still scales the workloads when the scenario is over.
    pub(super) fn scales_afterwards(self) -> bool {
        self != Self::OptOut
    }

    /// Runs the scenario and waits until it is over. Returns the violations that do not belong to a single workload.
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
                    // Waits while no agent runs. The autoscaler gets no reports, and must not scale down.
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

/// Changes the annotations in the pod templates of all workloads of the test matrix.
fn annotate(world: &World, annotations: &serde_json::Value) {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    for cell in CELLS {
        let at = path("apps/v1", "Deployment", NAMESPACE, &cell.name());
        world.cluster.api().merge(&at, &patch).unwrap();
    }
}

/// Stops the leader (SIGSTOP) for this time, and returns violations. After the standby has become the leader, the old
/// leader must not write any more.
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
    // This pause is longer than any pending write of the old leader can take.
    thread::sleep(Duration::from_secs(5));
    // The standby must lead after at most twice the lease duration: the lease expires after its duration, and
    // candidates check it more often. The remaining time allows for a loaded machine.
    if time > LEASE * 2 && taken.is_none() {
        return vec!["the standby did not become the leader".to_owned()];
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
        false => vec![format!(
            "the old leader wrote after the standby had become the leader: {}",
            wrote.join(", ")
        )],
    }
}

/// Returns the writes with this credential id since this time. Excluded are writes of leases, and TokenReviews, which
/// are queries.
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

/// Raises the minimum scale of the canary Deployment. Returns a violation if the autoscaler does not raise the replicas
/// `within` this time.
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
    Some(format!(
        "the autoscaler did not raise the replicas of the canary within {within:?}"
    ))
}
