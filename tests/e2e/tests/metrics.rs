//! The metrics that the programs expose to Prometheus.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ebb_e2e::{SOON, agent, manifests::file};
use ebb_fixtures::{Case, Need, eventually};

use crate::world::{FAST, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "metrics::promtool_has_no_complaint",
        &[Need::Cgroup, Need::Tool("promtool")],
        promtool,
    ),
    Case::beside("metrics::labels_are_bounded", &[Need::Cgroup], labels),
    Case::beside(
        "metrics::the_docs_have_them_all",
        &[Need::Cgroup],
        documented,
    ),
];

/// Labels whose values are names or kinds of objects in the cluster. Their number of values is limited only by the
/// number of objects.
const OF_OBJECTS: [&str; 6] = [
    "namespace",
    "pod",
    "workload",
    "workload_kind",
    "kind",
    "name",
];
/// The maximum number of values of each label that is not in [`OF_OBJECTS`]. The values of such a label are constants
/// of the programs.
const FEW: usize = 20;

/// Creates a workload, and returns the `/metrics` responses of the autoscaler and of the agent that counts the
/// workload's pod.
fn exposed(namespace: &str) -> Vec<String> {
    let world = shared();
    let app = world.app(namespace, "web", 1, &[FAST]);
    let traffic = app.traffic(2);
    traffic.set(2);
    let text = |got: Option<(u16, String)>, has: &str| {
        let (status, text) = got?;
        assert_eq!(status, 200);
        text.contains(has).then_some(text)
    };
    let mut all = vec![eventually("the workload's metrics", SOON, || {
        let has = format!("ebb_workload_stable_average{{namespace=\"{namespace}\"");
        text(world.replica().get("/metrics"), &has)
    })];
    if agent::is_real().is_ok() {
        all.push(eventually("its pod's metrics", SOON, || {
            let has = format!("ebb_pod_requests_total{{namespace=\"{namespace}\"");
            let mut agents = world.agents.iter();
            agents.find_map(|agent| text(agent.get("/metrics"), &has))
        }));
    }
    all
}

fn promtool() {
    for text in exposed("metrics") {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = promtool.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let output = promtool.wait_with_output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success() && said.trim().is_empty(), "{said}");
    }
}

fn labels() {
    for text in exposed("labels") {
        let mut values: BTreeSet<(&str, &str)> = BTreeSet::new();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for labels in lines.filter_map(|line| line.split_once('{')?.1.split_once("} ")) {
            let pairs = labels.0.split(',').filter_map(|pair| pair.split_once('='));
            values.extend(pairs.filter(|(name, _)| !OF_OBJECTS.contains(name)));
        }
        let names: BTreeSet<_> = values.iter().map(|(name, _)| *name).collect();
        for name in names {
            let of: Vec<_> = values.iter().filter(|(of, _)| *of == name).collect();
            assert!(of.len() <= FEW, "{name}: {of:?}");
        }
    }
}

/// A metric: its name without the suffix `_total` of counters, and its type.
type Metric = (String, String);

/// Documented metrics that this test does not require, because their cause does not occur.
const SELDOM: [&str; 2] = ["ebb_agent_unavailable", "ebb_autoscaler_scale_writes"];

fn documented() {
    let docs = std::fs::read_to_string(file("docs/metrics.md")).unwrap();
    let metric = |name: &str, kind: &str| -> Metric {
        let name = name.trim_end_matches("_total");
        (name.to_owned(), kind.to_owned())
    };
    let described: BTreeSet<Metric> = docs
        .lines()
        .filter_map(|row| {
            let (name, rest) = row.strip_prefix("| `")?.split_once("` | ")?;
            let (kind, _) = rest.split_once(" |")?;
            let of_a_program = name.starts_with("ebb_") || name.starts_with("process_");
            of_a_program.then(|| metric(name, kind))
        })
        .collect();
    let mut there = BTreeSet::new();
    for text in exposed("documented") {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        there.extend(types.filter_map(|line| {
            let (name, kind) = line.split_once(' ')?;
            Some(metric(name, kind))
        }));
    }
    let unknown: Vec<_> = there.difference(&described).collect();
    assert!(
        unknown.is_empty(),
        "exposed, but not in docs/metrics.md: {unknown:?}"
    );
    let programs: BTreeSet<_> = there.iter().map(|(name, _)| program(name)).collect();
    let gone: Vec<_> = described
        .difference(&there)
        .filter(|(name, _)| programs.contains(program(name)))
        .filter(|(name, _)| !SELDOM.contains(&name.as_str()))
        .collect();
    assert!(
        gone.is_empty(),
        "in docs/metrics.md, but not exposed: {gone:?}"
    );
}

/// Returns the program that exposes a metric: the word after `ebb_`.
fn program(name: &str) -> &str {
    name.split('_').nth(1).unwrap_or_default()
}
