//! Tests of a node's pods over their lifetime. The counter is a table in memory.

use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use ebb_agent::{Rules, cgroup::CgroupError};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A counter in memory. Each reading adds one request.
#[derive(Debug, Default)]
struct Table {
    pods: BTreeMap<u32, (u64, Rules)>,
    next: u32,
    reads: Cell<u64>,
    in_flight: u64,
    /// The wake-up threshold of each pod.
    burst_thresholds: RefCell<BTreeMap<u32, u64>>,
}

impl Meter for Table {
    type Pod = u32;

    fn id(&self, path: &Path) -> Result<u64, CounterError> {
        let file = fs::metadata(path).map_err(|source| CgroupError::Missing {
            path: path.into(),
            source,
        })?;
        Ok(file.ino())
    }

    fn attach(&mut self, path: &Path, rules: &Rules) -> Result<u32, CounterError> {
        if rules.ports.contains(&1) {
            return Err(CounterError::Full(0));
        }
        self.next += 1;
        self.pods.insert(self.next, (self.id(path)?, rules.clone()));
        Ok(self.next)
    }

    fn detach(&mut self, pod: u32) {
        self.pods.remove(&pod).expect("is counted");
    }

    fn read(&self, pod: u32) -> Result<Reading, CounterError> {
        if !self.pods.contains_key(&pod) {
            return Err(CounterError::Unknown(pod));
        }
        self.reads.set(self.reads.get() + 1);
        Ok(Reading {
            started: self.reads.get(),
            in_flight: self.in_flight,
            ..Reading::NOTHING
        })
    }

    fn peek(&self, _pod: u32) -> u64 {
        self.in_flight
    }

    fn wake_at(&self, pod: u32, in_flight: u64) {
        self.burst_thresholds.borrow_mut().insert(pod, in_flight);
    }

    fn pods(&self) -> Vec<u32> {
        self.pods.keys().copied().collect()
    }

    fn find(&self, cgroup: u64) -> Option<u32> {
        let mut pods = self.pods.iter();
        pods.find(|(_, (of, _))| *of == cgroup).map(|(pod, _)| *pod)
    }

    fn has_rules(&self, pod: u32, rules: &Rules) -> bool {
        self.pods[&pod].1 == *rules
    }

    fn set_rules(&mut self, pod: u32, rules: &Rules) -> Result<(), CounterError> {
        if rules.ports.contains(&1) {
            return Err(CounterError::Full(0));
        }
        self.pods.get_mut(&pod).expect("is counted").1 = rules.clone();
        Ok(())
    }

    fn since(&self, pod: u32) -> Duration {
        Duration::from_secs(pod.into())
    }
}

struct Node {
    root: TempDir,
    counting: Counting<Table>,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let counting = Counting::new(Kubelet::new(root.path().into(), "/"));
        Self {
            root,
            counting,
            now: Instant::now(),
        }
    }

    fn with_counter() -> Self {
        let mut node = Self::new();
        node.counting.set_meter(Table::default());
        node.list(&[]);
        node
    }

    fn cgroup(&self, uid: &str) -> PathBuf {
        self.root.path().join(format!("kubepods/pod{uid}"))
    }

    fn make_cgroup(&self, uid: &str) {
        fs::create_dir_all(self.cgroup(uid)).unwrap();
    }

    fn list(&mut self, pods: &[Pod]) {
        self.counting.list_begins();
        for pod in pods {
            self.counting.apply(pod, self.now);
        }
        self.counting.list_ends(self.now);
    }

    fn apply(&mut self, pod: &Pod) {
        self.counting.apply(pod, self.now);
    }

    /// Reads all pods. Returns the uid and the number of started requests of each pod.
    fn read(&mut self) -> Vec<(String, u64)> {
        self.counting.read(self.now);
        self.shown()
    }

    fn shown(&self) -> Vec<(String, u64)> {
        self.counting
            .readings()
            .map(|pod| (pod.spec.uid, pod.reading.started))
            .collect()
    }

    fn table(&self) -> &Table {
        self.counting.meter().unwrap()
    }
}

fn pod(uid: &str, more: &[(&str, &str)]) -> Pod {
    let mut annotations = json!({"autoscaling.knative.dev/class": "ebb.dev"});
    for (key, text) in more {
        annotations[*key] = json!(text);
    }
    serde_json::from_value(json!({
        "metadata": {"uid": uid, "namespace": "n", "name": uid, "annotations": annotations},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Running", "qosClass": "Guaranteed"},
    }))
    .unwrap()
}

fn pod_counts(counted: usize, waiting: usize, rejected: usize) -> PodCounts {
    PodCounts {
        counted,
        waiting,
        rejected,
    }
}

#[test]
fn a_pod_waits_for_its_cgroup() {
    let mut node = Node::with_counter();
    node.apply(&pod("a", &[]));
    assert_eq!(node.counting.pod_counts(), pod_counts(0, 1, 0));
    assert_eq!(node.read(), []);
    node.make_cgroup("a");
    assert!(node.counting.try_waiting());
    assert!(!node.counting.try_waiting());
    assert_eq!(node.counting.pod_counts(), pod_counts(1, 0, 0));
    assert_eq!(node.read(), [("a".into(), 2)]);
}

#[test]
fn pods_wait_for_a_counter() {
    let mut node = Node::new();
    node.make_cgroup("a");
    node.list(&[pod("a", &[])]);
    assert!(!node.counting.try_waiting());
    node.counting.set_meter(Table::default());
    assert_eq!(node.counting.pod_counts(), pod_counts(1, 0, 0));
}

#[test]
fn last_figures_stay_a_while() {
    let mut node = Node::with_counter();
    node.make_cgroup("a");
    node.apply(&pod("a", &[]));
    node.read();
    // The cgroup is deleted before the pod. The next reading detects this, and the pod's last reading is still
    // reported.
    fs::remove_dir(node.cgroup("a")).unwrap();
    let last = node.read();
    assert_eq!(last.len(), 1);
    assert_eq!(node.counting.pod_counts(), pod_counts(0, 1, 0));
    assert!(node.table().pods.is_empty(), "detached");
    node.counting.remove("a", node.now);
    node.now += LINGERS - Duration::from_millis(1);
    assert_eq!(node.read(), last, "the same as before");
    node.now += Duration::from_millis(1);
    assert_eq!(node.read(), []);
}

#[test]
fn a_pod_that_opts_out_is_left_alone() {
    let mut node = Node::with_counter();
    node.make_cgroup("a");
    node.apply(&pod("a", &[]));
    node.apply(&pod(
        "a",
        &[("autoscaling.knative.dev/class", "other.example")],
    ));
    assert_eq!(node.counting.pod_counts(), pod_counts(0, 0, 0));
    assert!(node.table().pods.is_empty());
}

#[test]
fn a_cgroup_of_the_same_name_is_another_one() {
    let mut node = Node::with_counter();
    node.make_cgroup("a");
    node.apply(&pod("a", &[]));
    fs::rename(node.cgroup("a"), node.cgroup("old")).unwrap();
    node.make_cgroup("a");
    node.read();
    assert!(node.counting.try_waiting());
    let readings: Vec<_> = node.counting.readings().collect();
    assert_eq!(readings.len(), 1, "once, with its newest");
    assert_eq!(readings[0].since, Duration::from_secs(2));
}

#[test]
fn rules_change_in_place() {
    let mut node = Node::with_counter();
    node.make_cgroup("a");
    node.apply(&pod("a", &[]));
    node.apply(&pod("a", &[("ebb.dev/ports", "80")]));
    assert_eq!(node.table().pods[&1].1.ports, [80]);
    // The counter rejects port 1. The pod is rejected, because a pod is never counted with old rules.
    node.apply(&pod("a", &[("ebb.dev/ports", "1")]));
    assert_eq!(node.counting.pod_counts(), pod_counts(0, 0, 1));
    assert!(node.table().pods.is_empty());
    let events_due = |node: &mut Node, after| node.counting.rejections(node.now + after).len();
    assert_eq!(events_due(&mut node, Duration::ZERO), 1);
    assert_eq!(events_due(&mut node, EVENT_INTERVAL / 2), 0, "once");
    let rejected: Vec<_> = node.counting.rejected().collect();
    assert!(
        matches!(rejected[..], [("a", why)] if !why.is_empty()),
        "{rejected:?}"
    );
    assert_eq!(events_due(&mut node, EVENT_INTERVAL), 1, "and again");
    // The pod is rejected while its annotation is invalid, and is counted when the annotation is valid again.
    node.apply(&pod("a", &[("ebb.dev/ports", "x")]));
    assert_eq!(node.counting.pod_counts(), pod_counts(0, 0, 1));
    node.apply(&pod("a", &[("ebb.dev/ports", "81")]));
    assert_eq!(node.counting.pod_counts(), pod_counts(1, 0, 0));
}

#[test]
fn advice_is_repeated_until_it_is_followed() {
    let mut node = Node::with_counter();
    node.make_cgroup("a");
    let mesh = [("linkerd.io/proxy-version", "edge-25.4.4")];
    node.apply(&pod("a", &mesh));
    let advised = |node: &mut Node, after| node.counting.advised(node.now + after);
    let (spec, advice) = advised(&mut node, Duration::ZERO).remove(0);
    assert_eq!(spec.uid, "a");
    assert!(advice.contains("ebb.dev/ports"), "{advice}");
    assert!(advised(&mut node, EVENT_INTERVAL / 2).is_empty(), "once");
    assert_eq!(advised(&mut node, EVENT_INTERVAL).len(), 1);
    node.apply(&pod("a", &[mesh[0], ("ebb.dev/ports", "80")]));
    assert!(advised(&mut node, EVENT_INTERVAL * 3).is_empty());
    let reading = node.counting.readings().next().unwrap();
    assert_eq!(
        reading.spec.counted_at.to_string(),
        "counted at the named ports (annotation), port 80"
    );
}

#[test]
fn what_an_earlier_agent_left_is_taken_over_or_let_go() {
    let mut node = Node::new();
    node.make_cgroup("a");
    node.make_cgroup("b");
    let mut left = Table::default();
    let rules = Rules {
        ports: vec![80],
        ..Rules::default()
    };
    let mine = left.attach(&node.cgroup("a"), &rules).unwrap();
    let stray = left.attach(&node.cgroup("b"), &rules).unwrap();
    node.counting.set_meter(left);
    node.counting.list_begins();
    node.counting.apply(&pod("a", &[]), node.now);
    // The counting of cgroup `b` is not stopped yet, because its pod may still follow in the list.
    assert_eq!(node.table().pods(), [mine, stray]);
    node.counting.list_ends(node.now);
    assert_eq!(node.table().pods(), [mine]);
    assert!(
        node.table().has_rules(mine, &Rules::default()),
        "the adopted cgroup has the counting rules of its pod"
    );
}

#[test]
fn a_list_tells_who_is_gone() {
    let mut node = Node::with_counter();
    for uid in ["a", "b"] {
        node.make_cgroup(uid);
        node.apply(&pod(uid, &[]));
    }
    node.list(&[pod("b", &[])]);
    assert_eq!(node.counting.pod_counts(), pod_counts(1, 0, 0));
    // The connection to the API server breaks during a list, so the list begins again. Pod `b` is still counted.
    node.counting.list_begins();
    node.list(&[pod("b", &[])]);
    assert_eq!(node.counting.pod_counts(), pod_counts(1, 0, 0));
}

#[test]
fn a_burst_is_more_than_the_target_and_twice_what_was() {
    let mut node = Node::with_counter();
    node.make_cgroup("a");
    node.apply(&pod("a", &[("autoscaling.knative.dev/target", "10")]));
    // The pod's target is 7 requests in flight: 70 % of 10. A burst begins if the requests in flight are at least as
    // many as the target, and at least twice as many as in the previous row.
    for (in_flight, bursts) in [
        (6, false),
        (12, true),
        (14, false),
        (27, false),
        (54, true),
        (3, false),
    ] {
        node.counting.meter.as_mut().unwrap().in_flight = in_flight;
        assert_eq!(node.counting.bursts(), bursts, "{in_flight}");
        node.read();
        // The kernel wakes the agent from this number of requests in flight on.
        let threshold = 7.max(in_flight * 2);
        let burst_thresholds = node
            .counting
            .meter
            .as_ref()
            .unwrap()
            .burst_thresholds
            .borrow();
        assert_eq!(burst_thresholds.values().collect::<Vec<_>>(), [&threshold]);
    }
}
