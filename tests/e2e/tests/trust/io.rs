//! Failures of the connection to the API server, and writes to the API server. (These are the cases P5 to P8, after
//! which the tests are named.)

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::api::path;
use ebb_e2e::{ApiWay, Autoscaler, Cluster, Location, Mode, SOON, Scales, Simulated};
use ebb_fixtures::{Case, Signal, eventually, note};
use serde_json::{Value, json};

use crate::light::{BUCKET, CARRIES, Light, WINDOW, fast, on_simulated};
use crate::world::events;

pub(crate) const CASES: &[Case] = &[
    Case::beside("trust::p5_connections_freeze", &[], p5_connections_freeze),
    Case::beside(
        "trust::p5_a_server_that_never_answers",
        &[],
        p5_a_server_that_never_answers,
    ),
    Case::beside(
        "trust::p6_a_leader_that_was_stopped_writes_nothing",
        &[],
        p6_a_leader_that_was_stopped,
    ),
    Case::beside(
        "trust::p7_somebody_else_changes_replicas_meanwhile",
        &[],
        p7_somebody_else_changes_replicas,
    ),
    Case::beside(
        "trust::p8_replicas_where_the_kind_says",
        &[],
        p8_replicas_where_the_kind_says,
    ),
];

/// The promised maximum time until the autoscaler notices a connection failure.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

/// Returns a concurrency that requires this number of pods.
fn for_pods(pods: u32) -> f64 {
    (f64::from(pods) - 0.5) * CARRIES
}

/// Starts a cluster whose only autoscaler replica reaches the API server through a relay, which can cause faults.
/// Returns the cluster and the relay.
fn over(way: impl FnOnce(&Cluster) -> ApiWay) -> (Light, ApiWay) {
    let cluster = Cluster::new();
    let way = way(&cluster);
    let place = Location {
        api: Some(way.url()),
        ..Location::default()
    };
    let replica = Autoscaler::launch_at(&place, &cluster, "first", &[]);
    replica.await_ready();
    replica.await_leading();
    let nodes = Simulated::start(&cluster, &["sim-a", "sim-b"], &[&replica]);
    nodes.report();
    let light = Light {
        scales: Scales::start(cluster.api()),
        nodes,
        replicas: vec![replica],
        cluster,
    };
    (light, way)
}

/// Creates a Deployment of three pods with a load for three pods, and waits for a decision of three replicas.
fn three(light: &Light, namespace: &str) {
    light.app(namespace, "web", 3, &fast(&[]));
    light.nodes.load(namespace, "web", for_pods(3));
    let what = "the autoscaler desires three replicas for the load";
    light
        .replica()
        .await_workload(what, SOON, (namespace, "web"), |view| {
            let calm = view["panic_mode"] == false && view["ready_replicas"] == 3;
            (calm && view["desired_replicas"] == 3).then_some(())
        });
}

/// Returns the value of a metric of an autoscaler replica; NaN if the replica does not expose the metric.
fn metric(replica: &Autoscaler, sample: &str) -> f64 {
    let (_, text) = replica.get("/metrics").unwrap_or_default();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    value.map_or(f64::NAN, |value| value.parse().unwrap())
}

fn age_of_pods(replica: &Autoscaler) -> f64 {
    metric(replica, "ebb_autoscaler_watch_age_seconds{kind=\"pods\"}")
}

fn status(replica: &Autoscaler, path: &str) -> Option<(u16, String)> {
    replica.get(path)
}

fn p5_connections_freeze() {
    let (light, way) = over(|cluster| ApiWay::to(&cluster.url()));
    three(&light, "frozen");
    way.freeze();
    let frozen = Instant::now();
    // From now on, no existing watch delivers changes.
    light.app("frozen", "new", 1, &fast(&[]));
    light.nodes.load("frozen", "web", for_pods(6));
    let scaled = eventually("the scale is written over a new connection", SOON, || {
        (light.replicas_of("frozen", "web") >= 6).then(|| frozen.elapsed())
    });
    let told = eventually("a new watch delivers the new Deployment", SOON, || {
        let view = light.replica().workload("frozen", "new");
        (!view.is_null()).then(|| frozen.elapsed())
    });
    assert!(
        scaled < NOTICED_WITHIN,
        "the scale was written {scaled:?} after the connections froze"
    );
    assert!(
        told < NOTICED_WITHIN,
        "the autoscaler knew the new Deployment {told:?} after the connections froze"
    );
    assert!(light.replica().is_leading());
    eventually("the watch of pods delivers messages again", SOON, || {
        (age_of_pods(light.replica()) < 16.0).then_some(())
    });
    let (code, body) = status(light.replica(), "/healthz").unwrap();
    assert_eq!(code, 200, "{body}");
    light.assert_never_below("frozen", "web", 3, Duration::ZERO);
    note(format!(
        "connections to the API server frozen: the scale is written after {scaled:.1?}, and the autoscaler knows a new \
         Deployment after {told:.1?}"
    ));
}

fn p5_a_server_that_never_answers() {
    let (light, way) = over(|cluster| ApiWay::to(&cluster.url()));
    three(&light, "silent");
    way.set(Mode::Silent);
    let silent = Instant::now();
    // The load ends, but the autoscaler must not scale down on the basis of outdated objects.
    light.nodes.load("silent", "web", 0.0);
    let stale = eventually("/readyz reports that the watch is silent", SOON, || {
        let (code, _) = status(light.replica(), "/healthz")?;
        assert_eq!(
            code, 200,
            "/healthz must not cause a restart, because a restart would not help"
        );
        let (code, body) = status(light.replica(), "/readyz")?;
        assert_eq!(
            code, 200,
            "the autoscaler must stay ready, because it still accepts reports"
        );
        body.contains("no message from the API server about pods")
            .then(|| silent.elapsed())
    });
    assert!(
        stale < NOTICED_WITHIN + Duration::from_secs(5),
        "reported after {stale:?}"
    );
    assert!(
        !light.replica().is_leading(),
        "the autoscaler must stop leading when it cannot renew its lease"
    );
    let age = age_of_pods(light.replica());
    assert!(age > 29.0, "{age}");
    // The load begins again; the autoscaler can know it only from the agents' reports. After this time, the load fills
    // the whole window, also if a report was late.
    light.nodes.load("silent", "web", for_pods(3));
    thread::sleep(WINDOW + 2 * BUCKET);
    way.set(Mode::Open);
    let open = Instant::now();
    let healthy = eventually("healthy again", SOON, || {
        let fresh = age_of_pods(light.replica()) < 16.0;
        (fresh && light.replica().is_leading()).then(|| open.elapsed())
    });
    assert!(healthy < NOTICED_WITHIN, "healthy after {healthy:?}");
    light.assert_never_below("silent", "web", 3, Duration::from_secs(5));
    light.nodes.load("silent", "web", 0.0);
    light.await_replicas("silent", "web", SOON, 1);
    note(format!(
        "API server does not answer: reported after {stale:.1?}; the autoscaler leads again {healthy:.1?} after the \
         API server answers again"
    ));
}

/// Returns the writes of an autoscaler replica to the API server, except leases and TokenReviews.
fn writes(light: &Light, replica: &Autoscaler) -> Vec<String> {
    let of = |entry: &Value| {
        let ids = &entry["user"]["extra"]["authentication.kubernetes.io/credential-id"];
        ids[0] == replica.credential()
    };
    let log = light.cluster.audit();
    let entries = log.iter().filter(|entry| of(entry));
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
    entries
        .map(|entry| (text(entry, "verb"), text(entry, "requestURI")))
        .filter(|(verb, uri)| {
            let writes = !matches!(&**verb, "get" | "list" | "watch");
            writes && !uri.contains("/leases") && !uri.contains("tokenreviews")
        })
        .map(|(verb, uri)| format!("{verb} {uri}"))
        .collect()
}

fn p6_a_leader_that_was_stopped() {
    let light = Light::with(Cluster::new(), &["first", "second"]);
    let (first, second) = (&light.replicas[0], &light.replicas[1]);
    let names: Vec<_> = (0..20).map(|number| format!("web-{number}")).collect();
    for name in &names {
        light.app("stopped", name, 1, &fast(&[]));
    }
    eventually("both replicas publish all workloads", SOON, || {
        let known = |replica: &Autoscaler, name: &String| {
            replica.workload("stopped", name)["ready_replicas"] == 1
        };
        names
            .iter()
            .all(|name| known(first, name) && known(second, name))
            .then_some(())
    });
    // All workloads now need more replicas. So the leader has writes that are due or in progress when it is stopped.
    for name in &names {
        light.nodes.load("stopped", name, for_pods(3));
    }
    thread::sleep(Duration::from_millis(900));
    first.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    // Waits until the API server has completed the requests that the leader sent before the stop.
    thread::sleep(Duration::from_secs(1));
    let before = writes(&light, first).len();
    eventually("the standby leads", SOON, || {
        second.is_leading().then_some(())
    });
    for name in &names {
        light.await_replicas("stopped", name, SOON, 3);
        light.nodes.load("stopped", name, for_pods(5));
    }
    thread::sleep(Duration::from_secs(22).saturating_sub(stopped.elapsed()));
    first.signal(Signal::SIGCONT);
    for name in &names {
        light.await_replicas("stopped", name, SOON, 5);
    }
    thread::sleep(Duration::from_secs(5));
    let written = writes(&light, first);
    assert_eq!(
        written[before..],
        [] as [String; 0],
        "the stopped leader must write nothing after it continues"
    );
    assert!(!first.is_leading() && second.is_leading());
    let dropped = metric(first, "ebb_autoscaler_dropped_writes_total");
    note(format!(
        "leader stopped for 22 s while writes were due: it wrote nothing afterwards, and dropped {dropped} writes"
    ));
}

fn p7_somebody_else_changes_replicas() {
    // Delay of the API server's responses. It is shorter than the time limit of a write. It is longer than a report
    // interval, so that the autoscaler decides before it receives the replicas that another client has written.
    const LATE: Duration = Duration::from_secs(2);
    let (light, way) = over(|cluster| ApiWay::to(&cluster.url()));
    three(&light, "meanwhile");
    let replica = light.replica();
    let at = path("apps/v1", "Deployment", "meanwhile", "web");
    // From this call on, the autoscaler receives changes 2 s late, so it decides on the basis of outdated replicas.
    way.set(Mode::Late(LATE));
    let changed = Instant::now();
    let nine = json!({"spec": {"replicas": 9}});
    light.api().merge(&at, &nine).unwrap();
    light.nodes.load("meanwhile", "web", for_pods(12));
    let sample = "ebb_autoscaler_scale_writes_total{outcome=\"conflict\"}";
    eventually("a write is refused with a conflict", SOON, || {
        (metric(replica, sample) >= 1.0).then_some(())
    });
    way.set(Mode::Open);
    // The next decision must be based on the replicas that the other client has written.
    light.await_replicas("meanwhile", "web", SOON, 12);
    let history = light.scales.history("meanwhile", "web");
    let after: Vec<_> = history
        .iter()
        .filter(|(_, since)| *since >= changed)
        .collect();
    assert_eq!(after[0].0, 9, "{history:?}");
    let lasted = after[1].1.duration_since(after[0].1);
    assert!(
        lasted >= LATE - Duration::from_millis(200),
        "the autoscaler overwrote the other client's replicas after {lasted:?}, before it could have received them"
    );
    let said = events(light.api(), "meanwhile", "Deployment", "web");
    let failed = said.iter().filter(|(reason, _)| reason == "ScaleFailed");
    assert_eq!(failed.count(), 0, "{said:?}");
    note(format!(
        "{} writes were based on an outdated number of replicas and were refused; the next write came {lasted:.1?} \
         after the other client's write",
        metric(replica, sample)
    ));
}

fn p8_replicas_where_the_kind_says() {
    let light = Light::new();
    light.cluster.namespace("fleet");
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    // The installed RBAC rules allow Ebb to scale kinds of this group.
    light.api().apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "listKind": "RolloutList"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
            }],
        },
    }));
    let deployment = on_simulated(ebb_e2e::deployment("fleet", "web", 5, &fast(&[])));
    let template = &deployment["spec"]["template"];
    let all = path("argoproj.io/v1alpha1", "Rollout", "fleet", "");
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "namespace": "fleet"},
        "spec": {"size": 5, "template": template},
    });
    let rollout = eventually("the new kind served", SOON, || {
        light.api().create(&all, &object).ok()
    });
    light.api().apply(&json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "namespace": "fleet", "ownerReferences": [{
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": rollout["metadata"]["uid"], "controller": true,
        }]},
        "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }));
    light.await_ready("fleet", "web", 5);
    light.nodes.load("fleet", "web", for_pods(5));
    let replicas = |number: u64| {
        move |view: &Value| {
            (view["requested_replicas"] == number && view["ready_replicas"] == 5).then_some(())
        }
    };
    let name = ("fleet", "web");
    light
        .replica()
        .await_workload("replicas read from `spec.size`", SOON, name, replicas(5));
    light.nodes.load("fleet", "web", for_pods(3));
    let at = path("argoproj.io/v1alpha1", "Rollout", "fleet", "web");
    let size = |wanted: u64| {
        let what = format!("{wanted} replicas written to `spec.size`");
        light.api().await_object(&what, SOON, &at, |object| {
            assert!(object["spec"]["replicas"].is_null(), "{object}");
            (object["spec"]["size"] == wanted).then_some(())
        });
    };
    size(3);
    let note = crate::world::await_event(light.api(), "fleet", "Rollout", "web", "ScaledDown");
    assert!(note.starts_with("from 5 to "), "{note}");
    // The object has changed, and the autoscaler must read its replicas again.
    light.nodes.load("fleet", "web", for_pods(5));
    size(5);
    light
        .replica()
        .await_workload("the replicas are read again", SOON, name, replicas(5));
}
