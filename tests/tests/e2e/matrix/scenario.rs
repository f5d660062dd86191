//! What goes wrong.

use std::thread;
use std::time::{Duration, Instant};

use ebb_tests::cluster::api::path;
use ebb_tests::cluster::{Mode, SOON};
use ebb_tests::harness::{Signal, eventually, full};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::cells::{CELLS, NAMESPACE};
use super::world::{CANARY, Order, World};
use crate::light::WINDOW;

/// The column of a row, and what happens in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    /// Autoscaler and agents start beside workloads that run.
    Start,
    /// The class is written onto workloads that run.
    OptIn,
    /// It is taken away.
    OptOut,
    /// The only replica is killed, and starts anew.
    Restart,
    /// The leader is killed, a standby takes over.
    Failover,
    /// The leader is stopped for so many seconds, beside a standby.
    Stopped(u64),
    /// The connections to the API server freeze; new ones work.
    Frozen,
    /// Each answer of the API server takes two seconds longer.
    Slow,
    /// The API server is away.
    Absent,
}

/// The lease of those with a standby: stops of 1 and 5 seconds are within it, those of 20 and 60 beyond.
pub(super) const LEASE: Duration = Duration::from_secs(6);
/// What is promised: a silent watch is noticed within this time.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// Four decisions and a window, in which whoever acts on nothing would have acted.
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

    /// Whether there is a second replica.
    pub(super) fn has_standby(self) -> bool {
        matches!(self, Self::Failover | Self::Stopped(_))
    }

    /// Whether those without traffic have had none from the beginning.
    pub(super) fn is_idle_from_the_start(self) -> bool {
        matches!(self, Self::Start | Self::OptIn)
    }

    /// Whether somebody scales the workloads afterwards.
    pub(super) fn scales_afterwards(self) -> bool {
        self != Self::OptOut
    }

    /// Has it happen, and waits until it is over; what went wrong beside the cells.
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
                    // It has had the time to act on nothing.
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

/// Changes the annotations of the templates of all cells.
fn annotate(world: &World, annotations: &serde_json::Value) {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    for cell in CELLS {
        let at = path("apps/v1", "Deployment", NAMESPACE, &cell.name());
        world.cluster.api().merge(&at, &patch).unwrap();
    }
}

/// A stop of the leader. Once the standby leads, the old one writes nothing more.
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
    // Longer than an order that was under way is waited for.
    thread::sleep(Duration::from_secs(5));
    // Held for its length and looked at by candidates twice in it; a loaded machine gets some more.
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

/// What was written with a token since then, but for the election itself and questions that are asked by writing.
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

/// A change that whoever is healthy follows.
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
