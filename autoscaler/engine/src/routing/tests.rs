//! Tests of scaling to zero and back, with a simulated activator.

use std::{collections::BTreeMap, time::Duration};

use ebb_autoscaler_core::{Config, Timestamp};
use ebb_contract::{ActivatorReport, Pod, PortReport, Report};

use ebb_contract::allotments::Allotment;

use super::{ObservedSlice, Outcome, Path, RecordChange, ServiceFacts};
use crate::{
    Effect, Engine, Order, Owner, OwnerResolution, PodFacts, Queueing, Scope, TargetFacts,
    TargetKey, WorkloadView,
};

const SECOND: u64 = 1_000_000_000;
const POD: &str = "uid-of-web-1";

/// A simulated cluster: one workload with at most one pod, one Service, and one activator that sees every
/// EndpointSlice.
struct World {
    engine: Engine,
    now: Timestamp,
    /// Recorded ports of the Service in the API server.
    record: Option<Allotment>,
    slice: Option<ObservedSlice>,
    /// Writes that the engine has requested; a test may clear this list.
    asked: Vec<Path>,
    /// Whether the API server refuses to write EndpointSlices.
    refuses: bool,
    /// Whether the activator reports.
    activator: bool,
    queued: u64,
    queued_ever: u64,
    queued_integral: u64,
    /// Number of requests in flight at the pod, if the pod exists.
    load: u64,
    pod: bool,
    integral: u64,
    started: u64,
    orders: Vec<Order>,
}

fn key() -> TargetKey {
    TargetKey::new("apps", "Deployment", "shop", "web")
}

fn labels() -> BTreeMap<String, String> {
    [("app".to_owned(), "web".to_owned())].into()
}

fn service() -> ServiceFacts {
    ServiceFacts {
        namespace: "shop".into(),
        name: "web".into(),
        uid: "u".into(),
        selector: labels(),
        ports: [("http".to_owned(), None)].into(),
        ..ServiceFacts::default()
    }
}

impl World {
    fn new(annotations: &[(&str, &str)]) -> Self {
        let mut this = Self::at(annotations, 1);
        this.pod_comes();
        this
    }

    /// Creates a cluster whose workload has these requested replicas and no pods.
    fn at(annotations: &[(&str, &str)], replicas: u32) -> Self {
        let mut engine = Engine::new(Queueing::Activators);
        let now = Timestamp::new(Duration::from_millis(1_000_000_900));
        engine.configure(now, Config::default());
        engine.lead(true);
        engine.begin(now);
        let class = ("autoscaling.knative.dev/class", "ebb.dev");
        let given = [class].into_iter().chain(annotations.iter().copied());
        engine.target_seen(
            now,
            TargetFacts {
                key: key(),
                uid: "uid".into(),
                resource_version: "1".into(),
                replicas,
                annotations: given
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
                labels: labels(),
                oversized: 0,
                owned: false,
                created: 0,
            },
        );
        engine.service_seen(service());
        Self {
            engine,
            now,
            record: None,
            slice: None,
            asked: Vec::new(),
            refuses: false,
            activator: true,
            queued: 0,
            queued_ever: 0,
            queued_integral: 0,
            load: 0,
            pod: false,
            integral: 0,
            started: 0,
            orders: Vec::new(),
        }
    }

    /// Adds the pod, which then becomes ready.
    fn pod_comes(&mut self) {
        let owner = Owner {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: "web-1".into(),
            uid: "set".into(),
        };
        self.pod = true;
        (self.integral, self.started) = (0, 0);
        let mut facts = PodFacts {
            uid: POD.into(),
            namespace: "shop".into(),
            name: "web-1".into(),
            node: Some("n1".into()),
            ready: false,
            deleting: false,
            opted_in: true,
            owner: Some(owner.into()),
            deletion_cost: None,
            created: 0,
        };
        self.engine.pod_seen(self.now, facts.clone());
        self.collect();
        facts.ready = true;
        self.engine.pod_seen(self.now, facts);
        self.collect();
        self.engine.endpoints_seen("shop", "web-1", "web", true);
    }

    fn pod_goes(&mut self) {
        self.pod = false;
        self.engine.pod_gone(POD);
        self.engine.endpoints_seen("shop", "web-1", "web", false);
    }

    /// Answers requests to resolve objects, and collects the scale orders. [`Self::carry_out`] carries out an order.
    fn collect(&mut self) {
        for effect in self.engine.effects() {
            match effect {
                Effect::Scale(order) => self.orders.push(order),
                Effect::Confirm(target) => {
                    let resolution = OwnerResolution::Target(target.clone());
                    self.engine.confirmed(self.now, &target, resolution);
                }
                Effect::ResolveOwner { namespace, owner } => {
                    let resolution = OwnerResolution::Target(key());
                    self.engine
                        .owner_resolved(self.now, &namespace, &owner, resolution);
                }
                Effect::Say(_) => {}
            }
        }
    }

    fn carry_out(&mut self) -> u32 {
        let order = self.orders.remove(0);
        let to = order.to;
        self.engine.written(self.now, order, None);
        to
    }

    fn nanos(&self) -> u64 {
        self.now.since_epoch().as_nanos() as u64
    }

    /// Sends the current report of the activator to the engine.
    fn report_all(&mut self) {
        let Some(record) = self.record.as_ref().filter(|_| self.activator) else {
            return;
        };
        let address = [10, 0, 0, 1].into();
        let slice = self.slice.as_ref();
        let report = ActivatorReport {
            activator: "a-1".to_owned(),
            address: "10.0.0.1".to_owned(),
            boot: "b".to_owned(),
            leaving: false,
            ports: vec![PortReport {
                namespace: "shop".to_owned(),
                service: "web".to_owned(),
                port: "http".to_owned(),
                number: record.ports["http"],
                in_path: slice.is_some_and(|slice| slice.endpoints.contains(&address)),
                since: 5,
                at: self.nanos(),
                queued_integral: self.queued_integral,
                queued: self.queued,
                queued_ever: self.queued_ever,
                ..PortReport::default()
            }],
        };
        self.engine.activator_report(self.now, &report);
        self.collect();
    }

    fn second(&mut self) {
        self.now = self.now + Duration::from_millis(200);
        self.queued_integral += self.queued * SECOND;
        if self.pod {
            self.integral += self.load * SECOND;
            self.started += self.load;
            let pod = Pod {
                uid: POD.into(),
                since: 5,
                at: self.nanos(),
                integral: self.integral,
                in_flight: self.load,
                started: self.started,
                ..Pod::default()
            };
            let report = Report {
                node: "n1".into(),
                boot: "b".into(),
                pods: vec![pod],
                ..Report::default()
            };
            let scope = Scope::Node("n1");
            self.engine.report(self.now, scope, "n1", &report);
        }
        self.report_all();
        self.write();
        // Advances to the end of the second, so that all decisions of this second are due.
        self.now = self.now + Duration::from_millis(800);
        self.engine.decide_due(self.now);
        self.collect();
    }

    /// Carries out the writes that the engine requests, and reports the written EndpointSlices to the engine.
    fn write(&mut self) {
        for path in self.engine.paths(self.now) {
            let mut outcome = done();
            match &path {
                Path::Record(change) if *change.namespace != *"shop" => {}
                Path::Record(change) => {
                    self.record = change.changes.get("web").cloned().flatten();
                }
                Path::Write(..) if self.refuses => outcome = refused(),
                Path::Write(_, written) => {
                    self.engine
                        .slice_seen("shop", "web", "s", true, written.clone());
                    self.slice = Some(written.clone());
                }
                Path::Remove { .. } => self.slice = None,
            }
            self.engine.path_done(self.now, &path, &outcome);
            self.asked.push(path);
        }
    }

    /// Reports the recorded ports and the EndpointSlice to the engine, as the watches report them to a new leader.
    fn known(&mut self, record: Option<Allotment>, slice: Option<ObservedSlice>) {
        if let Some(record) = record.clone() {
            let all = [("web".into(), record)].into();
            self.engine.record_seen(self.now, "shop", Some("7"), all, 0);
        }
        if let Some(slice) = slice.clone() {
            self.engine.slice_seen("shop", "web", "s", true, slice);
        }
        (self.record, self.slice) = (record, slice);
    }

    fn endpoints(&self) -> usize {
        self.slice.as_ref().map_or(0, |slice| slice.endpoints.len())
    }

    fn seconds(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.second();
        }
    }

    /// Advances the time until the first scale order. Returns the number of seconds; `None` if `most` seconds pass
    /// without an order.
    fn until_order(&mut self, most: u32) -> Option<u32> {
        (1..=most).find(|_| {
            self.second();
            !self.orders.is_empty()
        })
    }

    /// Advances the time without load until the last pod is removed.
    fn go_to_zero(&mut self) {
        self.until_order(200).expect("an order");
        assert_eq!(self.carry_out(), 0);
        self.pod_goes();
        self.seconds(10);
    }

    fn view(&self) -> WorkloadView {
        self.engine.views().next().unwrap()
    }

    /// Queues this number of requests at the activator, which reports the requests at once.
    fn hold(&mut self, requests: u64) {
        self.now = self.now + Duration::from_millis(100);
        self.queued = requests;
        self.queued_ever += requests;
        self.report_all();
    }
}

fn done() -> Outcome {
    Outcome::Done(Some("8".into()))
}

fn refused() -> Outcome {
    Outcome::Refused {
        why: "exceeded quota".to_owned(),
        terminating: false,
    }
}

#[test]
fn the_last_pod_goes_when_activators_have_been_in_place_for_the_grace_period() {
    let mut world = World::new(&[("autoscaling.knative.dev/target-burst-capacity", "0")]);
    world.seconds(10);
    let written = world.slice.clone().unwrap();
    assert!(!written.ports.is_empty() && written.endpoints.is_empty());
    // The last pod is removed after 60 s of stable window and 30 s of grace period. The grace period starts when the
    // activators are in the request path, within 8 s.
    let at = 10 + world.until_order(200).unwrap();
    assert!((60 + 30..=60 + 30 + 8).contains(&at), "{at}");
    assert!(!world.slice.as_ref().unwrap().endpoints.is_empty());
    assert_eq!(world.carry_out(), 0);
}

#[test]
fn nobody_there_to_hold_and_the_last_pod_stays() {
    let mut world = World::new(&[]);
    world.activator = false;
    assert_eq!(world.until_order(200), None);
    world.activator = true;
    let again = world.until_order(60).unwrap();
    assert!(
        again >= 30,
        "scaled to zero after {again} s, less than the grace period"
    );

    let mut world = World::new(&[("autoscaling.knative.dev/target-burst-capacity", "-1")]);
    world.activator = false;
    assert_eq!(
        world.until_order(200),
        None,
        "without an activator, the last pod stays"
    );

    let mut world = World::new(&[]);
    let mut tls = service();
    tls.ports.insert("tls".to_owned(), Some("https".to_owned()));
    world.engine.service_seen(tls);
    assert_eq!(world.until_order(200), None, "the TLS port is not proxied");
}

#[test]
fn the_first_held_request_wakes_at_once_and_counts_in_full() {
    let mut world = World::new(&[("autoscaling.knative.dev/target", "10")]);
    world.go_to_zero();
    world.hold(1);
    assert_eq!(world.orders.len(), 1, "no tick in between");
    assert_eq!(world.carry_out(), 1);

    let mut world = World::new(&[("autoscaling.knative.dev/target", "10")]);
    world.go_to_zero();
    world.hold(100);
    assert_eq!(world.carry_out(), 15, "100 requests, 7 a pod");
}

/// Queued requests that are reported several times must count only once. The engine makes no decision while the reports
/// arrive, as during the start of a replica.
#[test]
fn requests_that_are_reported_several_times_before_a_decision_count_once() {
    for metric in ["concurrency", "rps"] {
        let mut world = World::new(&[
            ("autoscaling.knative.dev/metric", metric),
            ("autoscaling.knative.dev/target", "1"),
            (
                "autoscaling.knative.dev/target-utilization-percentage",
                "100",
            ),
            ("autoscaling.knative.dev/window", "6s"),
        ]);
        world.go_to_zero();
        world.now = world.engine.decide_due(world.now).expect("it is due later");
        world.engine.decide_due(world.now);
        world.engine.deciding = false;
        for more in [2, 2, 0, 0] {
            world.now = world.now + Duration::from_millis(10);
            world.queued += more;
            world.queued_ever += more;
            world.queued_integral += world.queued * SECOND / 100;
            world.report_all();
            assert!(world.orders.is_empty(), "{metric}: no decision yet");
        }
        world.engine.deciding = true;
        world.now = world.now + Duration::from_millis(20);
        world.engine.decide_due(world.now);
        world.collect();
        assert_eq!(world.carry_out(), 4, "{metric}");
    }
}

/// The engine makes the decision for the first queued request at once, even if the last decision was made only 10 ms
/// before.
#[test]
fn the_first_queued_request_at_zero_is_decided_on_at_once() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    world.now = world.engine.decide_due(world.now).expect("it is due later");
    world.engine.decide_due(world.now);
    world.now = world.now + Duration::from_millis(10);
    world.hold(1);
    assert_eq!(world.carry_out(), 1);
}

#[test]
fn a_request_during_the_step_to_zero_has_a_pod_ordered_at_once() {
    let mut world = World::new(&[]);
    world.until_order(200).unwrap();
    // A request is queued while the scale order to zero replicas is not carried out yet: the engine must order a pod at
    // once.
    world.hold(1);
    assert_eq!(world.orders.len(), 2);
    assert_eq!((world.carry_out(), world.carry_out()), (0, 1));
}

#[test]
fn what_is_held_is_load_and_what_is_passed_on_is_the_pods() {
    let mut world = World::new(&[("autoscaling.knative.dev/window", "6s")]);
    world.seconds(10);
    (world.load, world.queued) = (3, 4);
    world.seconds(12);
    let stable = world.view().stable.unwrap();
    assert!((stable - 7.0).abs() < 0.01, "{stable}");
    assert_eq!(world.view().queued, 4);
    (world.load, world.queued) = (7, 0);
    world.seconds(12);
    let stable = world.view().stable.unwrap();
    assert!((stable - 7.0).abs() < 0.01, "{stable}");
    // When the activator stops reporting, its queued requests are lost, so they must no longer count as load.
    (world.load, world.queued) = (0, 5);
    world.seconds(8);
    world.activator = false;
    world.seconds(16);
    assert_eq!((world.view().stable, world.view().queued), (Some(0.0), 0));
}

#[test]
fn requests_a_second_are_counted_once() {
    let mut world = World::new(&[
        ("autoscaling.knative.dev/metric", "rps"),
        ("autoscaling.knative.dev/target", "10"),
        ("autoscaling.knative.dev/window", "6s"),
    ]);
    world.go_to_zero();
    world.hold(20);
    assert_eq!(world.carry_out(), 3, "20 requests, 7/s a pod");
    // The 20 requests reach the pod, which reports 20 started requests. All 20 are already counted, so the pod's report
    // adds none.
    world.queued = 0;
    world.pod_comes();
    world.started = 20;
    world.second();
    world.seconds(1);
    let stable = world.view().stable.unwrap();
    assert!(stable <= 20.0, "{stable}");
}

#[test]
fn the_path_is_left_as_soon_as_a_pod_gives_room() {
    let annotations = [
        ("autoscaling.knative.dev/target", "10"),
        ("autoscaling.knative.dev/target-burst-capacity", "5"),
    ];
    let mut world = World::new(&annotations);
    world.go_to_zero();
    world.hold(1);
    world.carry_out();
    assert!(world.view().activator_in_path);
    world.queued = 0;
    world.now = world.now + Duration::from_millis(100);
    world.pod_comes();
    assert!(
        !world.view().activator_in_path,
        "one pod has a capacity of 10, more than the target burst capacity of 5"
    );
    world.engine.endpoints_seen("shop", "web-1", "web", false);
    world.seconds(1);
    assert_eq!(world.endpoints(), 1, "no endpoint of the pod is ready yet");
    world.engine.endpoints_seen("shop", "web-1", "web", true);
    world.seconds(1);
    assert_eq!(world.endpoints(), 0);
}

#[test]
fn who_takes_over_at_zero_keeps_the_ports_and_wakes() {
    let mut before = World::new(&[]);
    before.go_to_zero();
    let slice = before.slice.clone().unwrap();
    let mut world = World::at(&[], 0);
    world.known(before.record, Some(slice.clone()));
    world.seconds(3);
    assert_eq!(world.slice, Some(slice));
    assert!(world.orders.is_empty());
    world.hold(1);
    assert_eq!(world.carry_out(), 1);
}

#[test]
fn who_knows_nothing_yet_leaves_the_path_as_it_is() {
    for in_path in [false, true] {
        let mut before = World::new(&[]);
        before.seconds(5);
        let mut slice = before.slice.clone().unwrap();
        assert_eq!(slice.endpoints.len(), 1, "capacity 100 is below 211");
        if !in_path {
            slice.endpoints.clear();
        }
        let mut world = World::at(&[], 3);
        world.known(before.record, Some(slice.clone()));
        world.seconds(6);
        assert_eq!(world.view().desired_replicas, None);
        assert_eq!(world.slice, Some(slice));
    }
}

#[test]
fn what_can_be_held_wakes_also_where_not_all_can() {
    let mut world = World::new(&[]);
    world.go_to_zero();
    let mut tls = service();
    tls.ports.insert("tls".to_owned(), Some("https".to_owned()));
    world.engine.service_seen(tls);
    world.seconds(4);
    assert_eq!(world.view().mode, "paused");
    world.hold(1);
    assert_eq!(world.carry_out(), 1);
}

#[test]
fn a_service_that_leads_here_no_longer_loses_its_slice() {
    let mut world = World::new(&[]);
    world.seconds(3);
    world.engine.service_gone("shop", "web");
    let removed = Path::Remove {
        namespace: "shop".into(),
        service: "web".into(),
    };
    assert_eq!(
        world.engine.paths(world.now),
        std::slice::from_ref(&removed)
    );
    world.engine.path_done(world.now, &removed, &done());
    // After the EndpointSlice is removed, the recorded ports of the Service are removed.
    let paths = world.engine.paths(world.now);
    let [
        Path::Record(RecordChange {
            changes, empties, ..
        }),
    ] = &paths[..]
    else {
        panic!("{paths:?}");
    };
    assert_eq!((changes["web"].as_ref(), *empties), (None, true));
    world.engine.path_done(world.now, &paths[0], &done());
    assert_eq!(world.engine.paths(world.now), []);
    assert!(world.engine.routing.routes.is_empty());
}

/// Ten thousand workloads in fifty namespaces, each with one Service, and one activator that listens on all proxied
/// Service ports.
#[test]
fn ten_thousand_services_have_a_port_each() {
    const MANY: usize = 10_000;
    const EACH: usize = 200;
    let mut engine = Engine::new(Queueing::Activators);
    let now = Timestamp::from_secs(1_000_000);
    engine.configure(now, Config::default());
    engine.lead(true);
    engine.begin(now);
    for number in 0..MANY {
        let name = format!("web-{number}");
        let namespace = format!("n-{}", number / EACH);
        let labels: BTreeMap<_, _> = [
            ("app".to_owned(), name.clone()),
            ("team".to_owned(), "all".to_owned()),
        ]
        .into();
        engine.service_seen(ServiceFacts {
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
            selector: labels.clone(),
            ..service()
        });
        engine.target_seen(
            now,
            TargetFacts {
                key: TargetKey::new("apps", "Deployment", &namespace, &name),
                uid: name.as_str().into(),
                resource_version: "1".into(),
                replicas: 0,
                annotations: [(
                    "autoscaling.knative.dev/class".to_owned(),
                    "ebb.dev".to_owned(),
                )]
                .into(),
                labels,
                oversized: 0,
                owned: false,
                created: 0,
            },
        );
    }
    // Each call makes only a limited number of the decisions, so that other work on the engine does not wait for all
    // decisions.
    let rounds = (1..).find(|_| engine.decide_due(now).is_none_or(|due| due > now));
    assert!(rounds.is_some_and(|rounds| rounds > 100), "{rounds:?}");
    let (mut slices, mut recorded, mut ports) = (0, 0, Vec::new());
    let mut numbers = std::collections::BTreeSet::new();
    let mut all = |engine: &mut Engine, ports: &mut Vec<PortReport>| {
        loop {
            let paths = engine.paths(now);
            if paths.is_empty() && !engine.paths_changed() {
                return (slices, recorded);
            }
            for path in &paths {
                match path {
                    Path::Record(change) => recorded += change.changes.len(),
                    Path::Write(wish, written) => {
                        slices += 1;
                        let namespace = &wish.workload.namespace;
                        engine.slice_seen(namespace, &wish.service, "s", true, written.clone());
                        if !numbers.insert(written.ports["http"]) {
                            assert!(!written.endpoints.is_empty(), "given out twice");
                            continue;
                        }
                        ports.push(PortReport {
                            namespace: namespace.to_string(),
                            service: wish.service.clone(),
                            port: "http".to_owned(),
                            number: written.ports["http"],
                            since: 5,
                            at: 1_000_000_000,
                            ..PortReport::default()
                        });
                    }
                    Path::Remove { .. } => panic!("{path:?}"),
                }
                engine.path_done(now, path, &done());
            }
        }
    };
    assert_eq!(all(&mut engine, &mut ports), (MANY, MANY));
    let report = ActivatorReport {
        activator: "a-1".to_owned(),
        address: "10.0.0.1".to_owned(),
        boot: "b".to_owned(),
        leaving: false,
        ports,
    };
    let receipt = engine.activator_report(now, &report);
    assert_eq!(receipt.taken as usize, MANY);
    let again = all(&mut engine, &mut Vec::new());
    assert_eq!(
        again,
        (2 * MANY, MANY),
        "each EndpointSlice is written a second time"
    );
}

mod trust;
