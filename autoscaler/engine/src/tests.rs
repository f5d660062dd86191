//! Tests of the whole engine. The input is facts and reports; the output is the actions that the engine requests.

mod known;
mod overtaken;

use std::time::Duration;

use ebb_autoscaler_core::{Config, Timestamp};
use ebb_contract::{CountedAt, Pod, Receipt, RejectedPod, Report};

use super::{
    Effect, Engine, Notice, Order, Owner, OwnerResolution, PodFacts, Queueing, Scope, TargetFacts,
    TargetKey,
};

const START: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// A simulated cluster. Every node sends a report once per second, 100 ms after the full second.
struct Cluster {
    engine: Engine,
    now: Timestamp,
    pods: Vec<TestPod>,
    effects: Vec<Effect>,
}

struct TestPod {
    facts: PodFacts,
    load: u64,
    integral: u64,
    started: u64,
    silent: bool,
}

fn key(name: &str) -> TargetKey {
    TargetKey::new("apps", "Deployment", "shop", name)
}

fn target(name: &str, replicas: u32, annotations: &[(&str, &str)]) -> TargetFacts {
    let class = ("autoscaling.knative.dev/class", "ebb.dev");
    let given = annotations.iter().copied().chain([class]);
    TargetFacts {
        key: key(name),
        uid: format!("uid-of-{name}").into(),
        resource_version: "1".into(),
        replicas,
        annotations: given
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        labels: [("app".to_owned(), name.to_owned())].into(),
        oversized: 0,
        owned: false,
        created: 0,
    }
}

impl Cluster {
    fn new() -> Self {
        let mut engine = Engine::new(Queueing::Nowhere);
        let now = Timestamp::from_secs(START);
        engine.configure(now, Config::default());
        engine.lead(true);
        engine.begin(now);
        Self {
            engine,
            now,
            pods: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// Adds a ready pod of the workload `of` on a node. `load`: number of requests in flight.
    fn pod(&mut self, of: &str, name: &str, node: &str, load: u64) {
        let owner = Owner {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: format!("{of}-1").into(),
            uid: format!("set-of-{of}").into(),
        };
        let facts = PodFacts {
            uid: format!("uid-of-{name}").into(),
            namespace: "shop".into(),
            name: name.into(),
            node: Some(node.into()),
            ready: true,
            deleting: false,
            opted_in: true,
            owner: Some(owner.clone().into()),
            deletion_cost: None,
            created: 0,
        };
        self.engine.pod_seen(self.now, facts.clone());
        self.pods.push(TestPod {
            facts,
            load,
            integral: 0,
            started: 0,
            silent: false,
        });
        for effect in self.engine.effects() {
            match effect {
                Effect::ResolveOwner { namespace, owner } => {
                    let resolution = OwnerResolution::Target(key(of));
                    self.engine
                        .owner_resolved(self.now, &namespace, &owner, resolution);
                }
                other => self.effects.push(other),
            }
        }
    }

    fn find(&mut self, name: &str) -> &mut TestPod {
        self.pods
            .iter_mut()
            .find(|pod| *pod.facts.name == *name)
            .unwrap()
    }

    fn set_load(&mut self, load: u64) {
        for pod in &mut self.pods {
            pod.load = load;
        }
    }

    /// Advances the time second by second, and carries out the scale orders. Returns all actions that the engine has
    /// requested.
    fn pass(&mut self, seconds: u64) -> Vec<Effect> {
        for _ in 0..seconds {
            let next = Timestamp::from_secs(self.now.since_epoch().as_secs() + 1);
            self.decide_until(next + Duration::from_millis(100));
            self.report();
        }
        std::mem::take(&mut self.effects)
    }

    fn decide_until(&mut self, end: Timestamp) {
        while let Some(due) = self.engine.decide_due(self.now).filter(|due| *due <= end) {
            self.now = due;
            self.engine.decide_due(due);
            self.collect();
        }
        self.now = end;
        self.collect();
    }

    fn collect(&mut self) {
        for effect in self.engine.effects() {
            if let Effect::Scale(order) = &effect {
                self.engine.written(self.now, order.clone(), None);
            }
            self.effects.push(effect);
        }
    }

    fn report(&mut self) {
        let at = (self.now.since_epoch().as_secs() - START + 5_000) * SECOND;
        let mut nodes: Vec<_> = self
            .pods
            .iter()
            .filter_map(|pod| pod.facts.node.clone())
            .collect();
        nodes.dedup();
        for node in nodes {
            let on_node = self.pods.iter_mut();
            let on_node =
                on_node.filter(|pod| pod.facts.node.as_ref() == Some(&node) && !pod.silent);
            let pods = on_node.map(|pod| {
                pod.integral += pod.load * SECOND;
                pod.started += pod.load;
                Pod {
                    uid: pod.facts.uid.to_string().into(),
                    since: 1,
                    at,
                    integral: pod.integral,
                    in_flight: pod.load,
                    started: pod.started,
                    ..Pod::default()
                }
            });
            let report = Report {
                node: node.to_string().into(),
                boot: "b".into(),
                pods: pods.collect(),
                ..Report::default()
            };
            self.engine
                .report(self.now, Scope::Node(&node), &node, &report);
        }
        self.collect();
    }

    fn desired(&self, name: &str) -> Option<u32> {
        self.engine
            .views()
            .find(|view| view.name == name)
            .unwrap()
            .desired_replicas
    }
}

fn orders(effects: &[Effect]) -> Vec<(u32, u32)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Scale(Order { from, to, .. }) => Some((*from, *to)),
            _ => None,
        })
        .collect()
}

fn notices(effects: &[Effect]) -> Vec<(&'static str, &str)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Say(Notice { reason, note, .. }) => Some((*reason, note.as_str())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_workload_follows_its_load_up_and_down() {
    let mut cluster = Cluster::new();
    cluster.engine.target_seen(
        cluster.now,
        target("web", 1, &[("autoscaling.knative.dev/target", "10")]),
    );
    cluster.pod("web", "a", "n1", 2);
    assert_eq!(orders(&cluster.pass(70)), []);
    cluster.find("a").load = 35;
    let effects = cluster.pass(10);
    assert_eq!(orders(&effects).last().unwrap().1, 5, "{effects:?}");
    cluster.set_load(3);
    let effects = cluster.pass(200);
    assert_eq!(orders(&effects).last().unwrap().1, 1, "{effects:?}");
}

/// Returns a cluster with two workloads, `blue` and `green`, with a target of 10 requests in flight per pod (7 at the
/// target utilization of 70%).
fn blue_and_green() -> Cluster {
    let mut cluster = Cluster::new();
    for name in ["blue", "green"] {
        cluster.engine.target_seen(
            cluster.now,
            target(name, 1, &[("autoscaling.knative.dev/target", "10")]),
        );
    }
    cluster
}

#[test]
fn two_workloads_do_not_mix() {
    let mut cluster = blue_and_green();
    cluster.pod("blue", "a", "n1", 70);
    cluster.pod("green", "b", "n1", 30);
    cluster.pass(70);
    assert_eq!(
        (cluster.desired("blue"), cluster.desired("green")),
        (Some(10), Some(5))
    );
}

#[test]
fn a_pod_goes_with_the_owner_that_takes_it_on() {
    let mut cluster = blue_and_green();
    cluster.pod("blue", "a", "n1", 70);
    cluster.pod("green", "b", "n1", 0);
    cluster.pass(70);
    assert_eq!(cluster.desired("blue"), Some(10));
    let green = cluster.find("b").facts.owner.clone();
    let moved = cluster.find("a");
    moved.facts.owner = green;
    let facts = moved.facts.clone();
    cluster.engine.pod_seen(cluster.now, facts);
    cluster.pass(70);
    assert_eq!(cluster.desired("green"), Some(10));
    assert_eq!(cluster.desired("blue"), Some(10), "nobody speaks for it");
}

#[test]
fn a_silent_node_never_shrinks_a_workload_and_may_not_hide_growth() {
    let mut cluster = Cluster::new();
    cluster.engine.target_seen(
        cluster.now,
        target("web", 2, &[("autoscaling.knative.dev/target", "10")]),
    );
    cluster.pod("web", "a", "n1", 7);
    cluster.pod("web", "b", "n2", 7);
    cluster.pass(70);
    assert_eq!(cluster.desired("web"), Some(2));
    cluster.find("b").silent = true;
    cluster.find("a").load = 1;
    assert_eq!(orders(&cluster.pass(300)), []);
    let view = cluster.engine.views().next().unwrap();
    assert_eq!(
        (view.pods_without_metrics, view.without_metrics[0].as_str()),
        (1, "b")
    );
    // The last report of pod b still counts: 7 requests at b + 21 requests at a = 28. With 7 requests per pod (70% of
    // the target 10), 4 pods are needed.
    cluster.find("a").load = 21;
    assert_eq!(orders(&cluster.pass(70)).last().unwrap().1, 4);
    cluster.find("b").silent = false;
    cluster.set_load(1);
    assert_eq!(orders(&cluster.pass(200)).last().unwrap().1, 1);
}

#[test]
fn the_seconds_until_a_node_counts_as_silent_are_not_idle() {
    let mut cluster = Cluster::new();
    let fast = [
        ("autoscaling.knative.dev/target", "10"),
        ("autoscaling.knative.dev/window", "6s"),
    ];
    cluster
        .engine
        .target_seen(cluster.now, target("web", 4, &fast));
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n3"), ("d", "n4")] {
        cluster.pod("web", name, node, 7);
    }
    assert_eq!(orders(&cluster.pass(70)), []);
    for name in ["b", "c", "d"] {
        cluster.find(name).silent = true;
        assert_eq!(orders(&cluster.pass(3)), []);
        assert_eq!(cluster.desired("web"), Some(4));
    }
}

#[test]
fn a_pod_that_nobody_reports_keeps_the_workload_from_shrinking() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 3, &[]));
    cluster.pod("web", "a", "n1", 1);
    cluster.pod("web", "b", "n2", 1);
    cluster.find("b").silent = true;
    assert_eq!(orders(&cluster.pass(200)), []);
    cluster.engine.pod_gone("uid-of-b");
    assert_eq!(orders(&cluster.pass(200)).last().unwrap().1, 1);
}

#[test]
fn the_pods_in_use_are_not_those_that_go() {
    let mut cluster = Cluster::new();
    cluster.engine.target_seen(
        cluster.now,
        target("web", 3, &[("autoscaling.knative.dev/target", "10")]),
    );
    for (name, load) in [("a", 0), ("b", 6), ("c", 0)] {
        cluster.pod("web", name, "n1", load);
    }
    let effects = cluster.pass(200);
    let costs: Vec<_> = effects
        .iter()
        .find_map(|effect| match effect {
            Effect::Scale(order) => Some(order.costs.iter().map(|cost| &*cost.pod).collect()),
            _ => None,
        })
        .unwrap();
    assert!(!costs.is_empty() && !costs.contains(&"b"), "{costs:?}");
}

#[test]
fn bad_annotations_are_told_and_nothing_is_scaled() {
    let mut cluster = Cluster::new();
    cluster.engine.target_seen(
        cluster.now,
        target("web", 1, &[("autoscaling.knative.dev/targett", "10")]),
    );
    cluster.pod("web", "a", "n1", 500);
    let effects = cluster.pass(30);
    let [(reason, note)] = notices(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(reason, "InvalidAnnotations");
    assert!(note.contains("autoscaling.knative.dev/targett"), "{note}");
    assert_eq!(orders(&effects), []);
    // Once the annotation is valid, the workload is scaled at once.
    cluster.engine.target_seen(
        cluster.now,
        target("web", 1, &[("autoscaling.knative.dev/target", "100")]),
    );
    assert_eq!(orders(&cluster.pass(9)).last().unwrap().1, 8);
}

#[test]
fn recommend_tells_and_leaves_alone() {
    let mut cluster = Cluster::new();
    let annotations = [
        ("ebb.dev/mode", "recommend"),
        ("autoscaling.knative.dev/target", "10"),
    ];
    cluster
        .engine
        .target_seen(cluster.now, target("web", 1, &annotations));
    cluster.pod("web", "a", "n1", 70);
    let effects = cluster.pass(70);
    assert_eq!(orders(&effects), []);
    let said = notices(&effects);
    assert!(!said.is_empty() && said.len() < 5, "{said:?}");
    let (reason, note) = said.last().unwrap();
    assert_eq!(
        (*reason, note.split(':').next().unwrap()),
        ("Recommended", "from 1 to 10")
    );
}

#[test]
fn a_rival_is_refused_until_it_is_gone() {
    let mut cluster = Cluster::new();
    let hpa = "HorizontalPodAutoscaler shop/web".to_owned();
    cluster
        .engine
        .conflict_seen(cluster.now, key("web"), hpa.clone());
    cluster.engine.target_seen(
        cluster.now,
        target("web", 1, &[("autoscaling.knative.dev/target", "10")]),
    );
    cluster.pod("web", "a", "n1", 70);
    let effects = cluster.pass(30);
    assert_eq!(
        (notices(&effects)[0].0, orders(&effects).len()),
        ("ConflictingAutoscaler", 0)
    );
    assert!(notices(&effects)[0].1.contains(&hpa));
    cluster.engine.conflict_gone(cluster.now, &key("web"), &hpa);
    assert_eq!(orders(&cluster.pass(3)), [(1, 10)], "its windows are warm");
}

#[test]
fn a_standby_decides_alike_and_keeps_it_to_itself() {
    let mut cluster = Cluster::new();
    cluster.engine.lead(false);
    cluster.engine.target_seen(
        cluster.now,
        target("web", 1, &[("autoscaling.knative.dev/target", "10")]),
    );
    cluster.pod("web", "a", "n1", 70);
    assert_eq!(cluster.pass(70), []);
    assert_eq!(cluster.desired("web"), Some(10));
    cluster.engine.lead(true);
    assert_eq!(orders(&cluster.pass(3)), [(1, 10)]);
}

#[test]
fn without_an_activator_the_last_pod_stays_and_zero_is_left_alone() {
    let mut cluster = Cluster::new();
    let always = ("autoscaling.knative.dev/target-burst-capacity", "-1");
    cluster
        .engine
        .target_seen(cluster.now, target("web", 2, &[always]));
    cluster.pod("web", "a", "n1", 0);
    assert_eq!(orders(&cluster.pass(300)).last().unwrap().1, 1);
    cluster
        .engine
        .target_seen(cluster.now, target("web", 0, &[always]));
    cluster.find("a").load = 500;
    assert_eq!(orders(&cluster.pass(60)), []);
    assert_eq!(cluster.engine.views().next().unwrap().mode, "paused");
}

#[test]
fn pods_that_do_not_come_up_are_no_reason_to_want_fewer() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 3, &[]));
    cluster.pod("web", "a", "n1", 0);
    let pod = cluster.find("a");
    pod.silent = true;
    pod.facts.ready = false;
    let facts = pod.facts.clone();
    cluster.engine.pod_seen(cluster.now, facts);
    assert_eq!(cluster.pass(1_000), []);
}

#[test]
fn opting_out_ends_it() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 1, &[]));
    cluster.pod("web", "a", "n1", 500);
    let mut out = target("web", 1, &[]);
    out.annotations.clear();
    cluster.engine.target_seen(cluster.now, out);
    assert_eq!(cluster.pass(60), []);
    assert_eq!(cluster.engine.views().count(), 0);
}

#[test]
fn a_node_speaks_for_its_own_pods_only() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 1, &[]));
    cluster.pod("web", "a", "n1", 1);
    let pod = |uid: &'static str| Pod {
        uid: uid.into(),
        at: SECOND,
        ..Pod::default()
    };
    let report = Report {
        node: "n2".into(),
        boot: "b".into(),
        pods: vec![pod("uid-of-a"), pod("nobody")],
        ..Report::default()
    };
    let receipt = cluster
        .engine
        .report(cluster.now, Scope::Node("n2"), "n2", &report);
    let expected = Receipt {
        foreign: 1,
        unknown: 1,
        ..Receipt::default()
    };
    assert_eq!(receipt, expected);
    let receipt = cluster
        .engine
        .report(cluster.now, Scope::Cluster, "gateway", &report);
    assert_eq!((receipt.taken, receipt.unknown), (1, 1));
}

#[test]
fn the_page_shows_where_pods_are_counted() {
    let mut cluster = Cluster::new();
    cluster
        .engine
        .target_seen(cluster.now, target("web", 4, &[]));
    for (pod, node) in [("a", "n1"), ("b", "n1"), ("c", "n1"), ("d", "n2")] {
        cluster.pod("web", pod, node, 1);
    }
    cluster.pass(4);
    let view = cluster.engine.views().next().unwrap();
    // The sender is an agent of the release before, which does not report the hop.
    assert!(view.counted_at.is_empty() && view.not_counted.is_empty());

    let at = (cluster.now.since_epoch().as_secs() - START + 5_000) * SECOND;
    let pod = |uid: &'static str, hop: &'static str, reason: &'static str, ports: &[u16]| Pod {
        uid: uid.into(),
        since: 1,
        at,
        counted_at: Some(CountedAt {
            hop: hop.into(),
            reason: reason.into(),
            ports: ports.to_vec(),
            only_inside: false,
        }),
        ..Pod::default()
    };
    let rejected = |uid: &'static str| RejectedPod {
        uid: uid.into(),
        why: "20 TCP ports".into(),
    };
    let mut report = Report {
        node: "n1".into(),
        boot: "b".into(),
        pods: vec![
            pod("uid-of-a", "edge", "istio", &[]),
            pod("uid-of-b", "app", "istio", &[8080]),
        ],
        // The pod `d` is on another node.
        rejected: vec![rejected("uid-of-c"), rejected("uid-of-d")],
    };
    let mut view = |report: &Report<'_>| {
        let scope = Scope::Node("n1");
        cluster.engine.report(cluster.now, scope, "n1", report);
        // Decisions are due every two seconds.
        cluster.now = cluster.now + Duration::from_secs(3);
        cluster.engine.decide_due(cluster.now);
        cluster.engine.views().next().unwrap()
    };
    let shown = view(&report);
    let texts: Vec<_> = shown
        .counted_at
        .iter()
        .map(|at| (&*at.text, at.pods))
        .collect();
    assert_eq!(
        texts,
        [
            ("counted at the edge (istio)", 1),
            ("counted at the application (istio), port 8080", 1),
        ]
    );
    assert!(shown.counted_at[0].advice.is_some() && shown.counted_at[1].advice.is_none());
    let not: Vec<_> = shown
        .not_counted
        .iter()
        .map(|not| (&*not.pod, &*not.why))
        .collect();
    assert_eq!(not, [("c", "20 TCP ports")]);

    report.rejected.clear();
    report.pods = vec![
        pod("uid-of-a", "app", "istio", &[8080]),
        pod("uid-of-c", "app", "istio", &[8080]),
    ];
    for pod in &mut report.pods {
        pod.at += SECOND;
    }
    let shown = view(&report);
    assert_eq!(shown.counted_at.len(), 1);
    assert_eq!(shown.counted_at[0].pods, 3);
    assert!(shown.not_counted.is_empty());
}

#[test]
fn a_burst_is_decided_on_when_it_is_told() {
    let mut cluster = Cluster::new();
    cluster.engine.target_seen(
        cluster.now,
        target("web", 1, &[("autoscaling.knative.dev/target", "10")]),
    );
    cluster.pod("web", "a", "n1", 0);
    cluster.pass(70);
    let at = (cluster.now.since_epoch().as_secs() - START + 5_000) * SECOND;
    let mut report = Report {
        node: "n1".into(),
        boot: "b".into(),
        pods: vec![Pod {
            uid: "uid-of-a".into(),
            since: 1,
            at,
            in_flight: 50,
            started: 50,
            ..Pod::default()
        }],
        ..Report::default()
    };
    // The agent reports at once after its wake-up, and then every 50 ms. The engine must not wait for the next
    // scheduled decision.
    for step in 0..6u64 {
        report.pods[0].at = at + 1 + step * 50_000_000;
        report.pods[0].integral = 50 * step * 50_000_000;
        let now = cluster.now + Duration::from_millis(1 + step * 50);
        cluster.engine.report(now, Scope::Node("n1"), "n1", &report);
    }
    let effects = cluster.engine.effects();
    assert_eq!(orders(&effects).last().unwrap().1, 8, "{effects:?}");
}

#[test]
fn a_pod_that_nothing_scales_is_told_of_once() {
    let mut cluster = Cluster::new();
    let mut facts = PodFacts {
        uid: "u".into(),
        namespace: "shop".into(),
        name: "bare".into(),
        node: None,
        ready: true,
        deleting: false,
        opted_in: true,
        owner: None,
        deletion_cost: None,
        created: 0,
    };
    for _ in 0..3 {
        cluster.engine.pod_seen(cluster.now, facts.clone());
    }
    facts.uid = "v".into();
    facts.opted_in = false;
    cluster.engine.pod_seen(cluster.now, facts);
    assert_eq!(notices(&cluster.engine.effects()).len(), 1);
}

#[test]
fn what_another_object_controls_is_a_workload_only_where_pods_lead_to_it() {
    let mut cluster = Cluster::new();
    let mut of_deployment = target("web-1", 1, &[]);
    of_deployment.owned = true;
    cluster
        .engine
        .target_seen(cluster.now, target("web", 1, &[]));
    cluster.engine.target_seen(cluster.now, of_deployment);
    cluster.pod("web", "web-1-a", "n1", 1);
    let names = |cluster: &Cluster| {
        let views = cluster.engine.views();
        views.map(|view| view.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&cluster), ["web"]);
    // Another object controls the Deployment `made`, but cannot be scaled. So `made` is the topmost scalable object.
    let mut topmost = target("made", 1, &[]);
    topmost.owned = true;
    cluster.engine.target_seen(cluster.now, topmost);
    assert_eq!(names(&cluster), ["web"]);
    cluster.pod("made", "made-a", "n1", 1);
    assert_eq!(names(&cluster), ["web", "made"]);
    cluster.engine.target_gone(cluster.now, &key("made"));
    assert_eq!(names(&cluster), ["web"]);
}
