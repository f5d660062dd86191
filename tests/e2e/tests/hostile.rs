//! One namespace with hostile objects next to many ordinary workloads in other namespaces. The hostile objects must not
//! slow down the scaling of the ordinary workloads.
//!
//! The API server is a test double, and pods are only API objects, so the test measures only the autoscaler's process.
//! The leader and the senders of reports have priority over the double and over the standby, which run on other machines
//! in a cluster.
//! Phases without the hostile objects alternate with phases with them, so other work on the machine affects both kinds
//! of phases alike. The test compares the medians of both kinds. With `EBB_TEST_FULL=1`, there are 1 000 ordinary
//! workloads, and ten phases of one minute of each kind.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use ebb_api_double::Double;
use ebb_e2e::simulated::LABEL;
use ebb_e2e::{ACCOUNT, Autoscaler, Cluster, Simulated, opted_in, priority};
use ebb_fixtures::{Case, eventually, full, note};
use serde_json::{Value, json};

use crate::cost;

pub(crate) const CASES: &[Case] = &[Case::new(
    "hostile::one_namespace_costs_the_others_nothing",
    &[],
    costs_nothing,
)];

/// The hostile namespace.
const HOSTILE: &str = "hostile";
/// The promised upper bound of the ratio of a measurement with the hostile objects to the same measurement without
/// them.
const AT_MOST: f64 = 1.2;
/// Length of an owner's name, bytes. An object that contains a name of this length is only slightly smaller than etcd's
/// limit.
const NAME: usize = 900 << 10;
const READY_WITHIN: Duration = Duration::from_secs(300);
/// The lease duration, short because the test waits until the lease expires.
const LEASE: &str = "6s";

/// The number of objects of each kind, and the length of the phases.
struct Strength {
    workloads: usize,
    nodes: usize,
    /// Number of Deployments at zero replicas.
    at_zero: usize,
    /// Number of pods whose owner has a long name.
    long: usize,
    /// Number of Services with many ports, and number of ports of each of these Services.
    services: usize,
    ports: usize,
    /// Number of pods with owners that cannot exist.
    odd: usize,
    phases: usize,
    phase: Duration,
    /// Objects that the hostile tenant creates per second.
    rate: usize,
}

fn strength() -> Strength {
    let (workloads, nodes, phases, phase, rate) = match full() {
        // A real API server with one etcd creates about 500 objects per second for one client. The double could create
        // all objects immediately, which no real API server can.
        true => (1_000, 50, 10, Duration::from_secs(60), 500),
        false => (300, 30, 2, Duration::from_secs(5), 4_000),
    };
    Strength {
        workloads,
        nodes,
        at_zero: 3_000,
        long: 20,
        services: 10,
        ports: 1_000,
        odd: 2_000,
        phases,
        phase,
        rate,
    }
}

/// The measurements of one phase.
#[derive(Debug, Default)]
struct PhaseFigures {
    /// Seconds from sending a report to its response, median and 99th percentile. The autoscaler responds after it has
    /// added the report to the windows and decided.
    report_p50: f64,
    report_p99: f64,
    /// Seconds that the autoscaler itself takes for a report and the decisions that it causes: the mean, from the
    /// autoscaler's histogram. `report_p50` and `report_p99` also include the time of the API server double and of the
    /// senders of reports, which share the CPUs of this machine.
    in_autoscaler: f64,
    /// Duration of a scrape in seconds, and size of its response in bytes.
    scrape: f64,
    scrape_bytes: f64,
    /// Requests per second to the API server.
    requests: f64,
    /// CPU time of the autoscaler per second, in seconds.
    cpu: f64,
    /// Anonymous memory of the autoscaler, MiB.
    memory: f64,
}

fn costs_nothing() {
    let strength = strength();
    let cluster = Cluster::large(ordinary(&strength));
    let double = cluster.as_double().expect("it is the double");
    // The option `ACCOUNT` names the activators' service account. With it, the autoscaler watches Services too.
    let options = [ACCOUNT, "--lease-duration", LEASE];
    let mut replicas = ["first", "second"].map(|name| {
        let replica = Autoscaler::launch(&cluster, name, &options);
        eventually("ready", READY_WITHIN, || {
            (replica.get("/readyz")?.0 == 200).then_some(())
        });
        replica
    });
    eventually("leading", READY_WITHIN, || {
        replicas[0].is_leading().then_some(())
    });
    let names: Vec<_> = (0..strength.nodes)
        .map(|node| format!("node-{node}"))
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let nodes = Simulated::start(&cluster, &names, &[&replicas[0], &replicas[1]]);
    nodes.spread();
    eventually("all pods known", READY_WITHIN, || {
        (nodes.ready("shop-0", "web-0") > 0).then_some(())
    });
    for number in 0..strength.workloads {
        nodes.load(
            &shop(number),
            &format!("web-{number}"),
            (number % 20) as f64,
        );
    }
    nodes.report();
    eventually("all decided on", READY_WITHIN, || {
        let decided = decided(&replicas[0]);
        (decided == strength.workloads).then_some(())
    });
    priority::raise(&priority::threads(replicas[0].pid()));
    // Waits until the averaging windows of the ordinary workloads are full.
    thread::sleep(Duration::from_secs(10));
    let (mut calm, mut under) = (Vec::new(), Vec::new());
    let (mut calm_takes_over, mut under_takes_over) = (Duration::ZERO, Duration::ZERO);
    for phase in 0..strength.phases {
        calm.push(measure(&cluster, &replicas[0], &nodes, strength.phase));
        let last = phase + 1 == strength.phases;
        if last {
            calm_takes_over = fail_over(&mut replicas);
        }
        let objects = hostile(&strength);
        let asked = cluster.audit().len();
        let seeded = thread::scope(|scope| {
            let seeding = scope.spawn(|| create(double, objects, strength.rate));
            under.push(measure(&cluster, &replicas[0], &nodes, strength.phase));
            seeding.join().expect("no panic")
        });
        if last {
            let most = most_asked(&cluster.audit()[asked..]);
            note(format!(
                "hostile namespace, most frequent requests to the API server: {most}"
            ));
            under_takes_over = fail_over(&mut replicas);
        }
        double.unseed(&seeded);
        // The test waits until the autoscaler has processed the deletions, so that they do not affect the next quiet
        // phase.
        settle(&replicas[0], strength.workloads);
    }
    let ratios = [
        ratio(
            "report to decision, p50",
            &calm,
            &under,
            1e3,
            "ms",
            |shown| shown.report_p50,
        ),
        ratio(
            "report to decision, p99",
            &calm,
            &under,
            1e3,
            "ms",
            |shown| shown.report_p99,
        ),
        ratio(
            "mean time in the autoscaler from report to decision",
            &calm,
            &under,
            1e3,
            "ms",
            |shown| shown.in_autoscaler,
        ),
        ratio("scrape", &calm, &under, 1e3, "ms", |shown| shown.scrape),
        ratio("scrape's size", &calm, &under, 1e-3, "kB", |shown| {
            shown.scrape_bytes
        }),
    ];
    for (what, scale, unit, of) in [
        (
            "requests to the API server",
            1.0,
            "/s",
            (|shown| shown.requests) as fn(&PhaseFigures) -> f64,
        ),
        ("CPU", 100.0, "%", |shown| shown.cpu),
        ("memory", 1.0, "MiB", |shown| shown.memory),
    ] {
        ratio(what, &calm, &under, scale, unit, of);
    }
    let (before, during) = (
        calm_takes_over.as_secs_f64(),
        under_takes_over.as_secs_f64(),
    );
    note(format!(
        "hostile namespace, time without a leader at a fail-over: {before:.1} s without the hostile \
         objects, {during:.1} s with them"
    ));
    // A candidate checks the lease at intervals of 1/5 × 2/3 × 6 s = 0.8 s, so the durations of two fail-overs can
    // differ by this time.
    let step = 0.8;
    assert!(
        during <= before * AT_MOST + step,
        "time without a leader: {before} s without the hostile objects, {during} s with them"
    );
    // Durations are compared only in phases of a minute. In a shorter phase, the arrival of thousands of new objects
    // dominates the durations. The size of a scrape is compared in all phases.
    let [times @ .., size] = ratios;
    let times = times.into_iter().flatten().filter(|_| full());
    let over: Vec<_> = times.chain(size).collect();
    assert!(over.is_empty(), "{over:#?}");
}

/// Creates `rate` objects per second, in steps of 0.1 s. Returns the created objects.
fn create(double: &Double, objects: Vec<Value>, rate: usize) -> Vec<Value> {
    let mut objects = objects.into_iter().peekable();
    let mut seeded = Vec::new();
    while objects.peek().is_some() {
        seeded.extend(double.seed(objects.by_ref().take(rate / 10)));
        thread::sleep(Duration::from_millis(100));
    }
    seeded
}

/// Records the medians of a measurement without and with the hostile objects. Returns an error text if the ratio of the
/// medians is too high.
///
/// Phases without the hostile objects differ from each other too. So a median that is not above the highest value of
/// these phases is no violation.
fn ratio(
    what: &str,
    calm: &[PhaseFigures],
    under: &[PhaseFigures],
    scale: f64,
    unit: &str,
    of: impl Fn(&PhaseFigures) -> f64,
) -> Option<String> {
    let figures = |phases: &[PhaseFigures]| {
        let mut figures: Vec<_> = phases.iter().map(&of).collect();
        figures.sort_by(f64::total_cmp);
        figures
    };
    let (calm, under) = (figures(calm), figures(under));
    let (before, during) = (calm[calm.len() / 2], under[under.len() / 2]);
    let worst = calm[calm.len() - 1];
    let line = format!(
        "hostile namespace, {what}: median {:.2} {unit} without the hostile objects (maximum {:.2}), {:.2} with them, \
         ratio {:.2}",
        before * scale,
        worst * scale,
        during * scale,
        during / before
    );
    note(line.clone());
    (during > (before * AT_MOST).max(worst)).then_some(line)
}

fn measure(
    cluster: &Cluster,
    replica: &Autoscaler,
    nodes: &Simulated,
    time: Duration,
) -> PhaseFigures {
    drop(nodes.took());
    let (spent, reports) = ingest(replica);
    let (begun, cpu, asked) = (Instant::now(), cost::cpu(replica.pid()), requests(cluster));
    let (mut scrapes, mut bytes) = (Vec::new(), Vec::new());
    while begun.elapsed() < time {
        let asked = Instant::now();
        let (status, text) = replica.get("/metrics").unwrap();
        assert_eq!(status, 200);
        scrapes.push(asked.elapsed().as_secs_f64());
        bytes.push(text.len() as f64);
        thread::sleep(Duration::from_millis(250));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (spent, reports) = {
        let (now_spent, now_reports) = ingest(replica);
        (now_spent - spent, now_reports - reports)
    };
    let mut took: Vec<_> = nodes.took().iter().map(Duration::as_secs_f64).collect();
    for list in [&mut took, &mut scrapes, &mut bytes] {
        list.sort_by(f64::total_cmp);
    }
    let at = |list: &[f64], share: f64| {
        let index = (list.len() as f64 * share) as usize;
        list.get(index.min(list.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::INFINITY)
    };
    PhaseFigures {
        report_p50: at(&took, 0.5),
        report_p99: at(&took, 0.99),
        in_autoscaler: spent / reports.max(1.0),
        scrape: at(&scrapes, 0.5),
        scrape_bytes: at(&bytes, 0.5),
        requests: (requests(cluster) - asked) as f64 / seconds,
        cpu: (cost::cpu(replica.pid()) - cpu) / seconds,
        memory: cost::own(replica.pid()),
    }
}

/// Returns the sum of the seconds that the autoscaler has spent on reports, and the number of these reports.
fn ingest(replica: &Autoscaler) -> (f64, f64) {
    let (_, body) = replica.get("/metrics").unwrap();
    let value = |name: &str| -> f64 {
        let line = body.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap()
    };
    let name = "ebb_autoscaler_report_ingest_seconds";
    (
        value(&format!("{name}_sum ")),
        value(&format!("{name}_count ")),
    )
}

/// Returns the most frequent requests to the API server with their counts, to help find the cause of a failure.
fn most_asked(log: &[Value]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in log {
        let uri = entry["requestURI"].as_str().unwrap_or_default();
        let mut parts = uri.split('?').next().unwrap_or_default().split('/');
        let after = parts.by_ref().find(|part| *part == "namespaces");
        let resource = after.and_then(|_| parts.nth(1)).unwrap_or(uri);
        let what = format!("{} {resource}", entry["verb"].as_str().unwrap_or_default());
        *counts.entry(what.chars().take(60).collect()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(4);
    format!("{counts:?}")
}

fn requests(cluster: &Cluster) -> usize {
    let log = cluster.audit();
    let ours = log.iter().filter(|entry| {
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        user.ends_with(":ebb-autoscaler")
    });
    ours.count()
}

/// Kills the leader and restarts it as the standby. Returns the time without a leader.
fn fail_over(replicas: &mut [Autoscaler; 2]) -> Duration {
    replicas[0].kill();
    let killed = Instant::now();
    eventually("the standby leads", READY_WITHIN, || {
        replicas[1].is_leading().then_some(())
    });
    let took = killed.elapsed();
    replicas[0].begin();
    eventually("ready", READY_WITHIN, || {
        (replicas[0].get("/readyz")?.0 == 200).then_some(())
    });
    // The test measures `replicas[0]`, so the new leader moves to this index, and the killed replica becomes the
    // standby.
    replicas.swap(0, 1);
    priority::raise(&priority::threads(replicas[0].pid()));
    took
}

/// Returns the number of ordinary workloads (all except the hostile ones) for which the autoscaler has made a decision.
fn decided(replica: &Autoscaler) -> usize {
    let (_, body) = replica.get("/metrics").unwrap_or_default();
    let of = |line: &&str| {
        line.starts_with("ebb_workload_desired_replicas{") && line.contains("namespace=\"shop-")
    };
    body.lines().filter(of).count()
}

fn settle(replica: &Autoscaler, workloads: usize) {
    eventually("the hostile ones forgotten", READY_WITHIN, || {
        let (_, body) = replica.get("/metrics")?;
        (!body.contains(&format!("namespace=\"{HOSTILE}\"")) && decided(replica) == workloads)
            .then_some(())
    });
    thread::sleep(Duration::from_secs(2));
}

fn shop(number: usize) -> String {
    format!("shop-{}", number % 20)
}

/// Returns the nodes and the ordinary workloads: Deployments in recommend mode, each with a ReplicaSet and three ready
/// pods.
fn ordinary(strength: &Strength) -> Vec<Value> {
    const PODS: usize = 3;
    let mut objects = Vec::new();
    for node in 0..strength.nodes {
        let labels = json!({LABEL: "true"});
        objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{node}"), "labels": labels}}));
    }
    let annotations = opted_in(&[("ebb.dev/mode", "recommend")]);
    // The double assigns uids in the order of creation, so an object's uid is known before the object is created.
    let uid = |number: usize| format!("00000000-0000-4000-8000-{number:012x}");
    for number in 0..strength.workloads {
        let (namespace, name) = (shop(number), format!("web-{number}"));
        let template = json!({"metadata": {"annotations": annotations, "labels": {"app": name}}});
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": name}}, "template": template},
        }));
        let owner = |kind: &str, name: &str, number| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid(number), "controller": true}]);
        let set = format!("{name}-1");
        let by = owner("Deployment", &name, objects.len());
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": set, "namespace": namespace, "ownerReferences": by},
        }));
        let by = owner("ReplicaSet", &set, objects.len());
        for pod in 0..PODS {
            let node = (number * PODS + pod) % strength.nodes;
            objects.push(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": format!("{set}-{pod}"), "namespace": namespace, "labels": {"app": name},
                    "annotations": annotations, "ownerReferences": by,
                },
                "spec": {"nodeName": format!("node-{node}"), "containers": [{"name": "app", "image": "x"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            }));
        }
    }
    objects
}

/// Returns the hostile objects: Deployments at zero replicas, Services with many ports, pods whose owner has a long
/// name, and pods with owners that cannot exist.
fn hostile(strength: &Strength) -> Vec<Value> {
    let mut objects = Vec::new();
    let annotations = opted_in(&[]);
    let named = |name: String| json!({"name": name, "namespace": HOSTILE});
    // Deployments at zero replicas: each Service's selector matches all of them.
    let labels = json!({"app": "all"});
    for number in 0..strength.at_zero {
        let name = format!("zero-{number}");
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": named(name.clone()),
            "spec": {"replicas": 0, "selector": {"matchLabels": labels},
                "template": {"metadata": {"annotations": annotations, "labels": labels}}},
        }));
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": named(name),
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }));
    }
    // Services with many ports.
    for number in 0..strength.services {
        let ports = (0..strength.ports)
            .map(|port| json!({"name": format!("p{port}"), "port": port + 1, "targetPort": 8080}));
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": named(format!("ports-{number}")),
            "spec": {"selector": labels, "ports": ports.collect::<Vec<_>>()},
        }));
    }
    let pod = |name: String, owner: Value, more: Value| {
        let mut metadata = named(name);
        metadata["annotations"] = annotations.clone();
        metadata["labels"] = json!({"app": "l".repeat(63)});
        metadata["ownerReferences"] = json!([owner]);
        if more.is_string() {
            metadata["annotations"]["more"] = more;
        }
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"nodeName": "nowhere", "containers": [{"name": "app", "image": "x"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        })
    };
    let reference = |api: String, kind: &str, name: String, uid: String| json!({"apiVersion": api, "kind": kind, "name": name, "uid": uid, "controller": true});
    // Pods whose owners' names are almost as long as the API server accepts.
    for number in 0..strength.long {
        let name = format!("{}{number}", "n".repeat(NAME));
        let owner = reference(
            "apps/v1".into(),
            "ReplicaSet",
            name,
            format!("long-{number}"),
        );
        objects.push(pod(
            format!("long-{number}"),
            owner,
            json!("a".repeat(255 << 10)),
        ));
    }
    // Pods whose owners cannot exist.
    for number in 0..strength.odd {
        let uid = format!("odd-{number}");
        let owner = match number % 2 {
            0 => reference(format!("g{number}.example/v1"), "Thing", "x".into(), uid),
            _ => reference(
                "apps/v1".into(),
                "ReplicaSet",
                format!("not a name {number}"),
                uid,
            ),
        };
        objects.push(pod(format!("odd-{number}"), owner, Value::Null));
    }
    objects
}
