//! What Prometheus is told.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ebb_tests::cluster::{SOON, agent};
use ebb_tests::harness::{Case, Need, eventually};

use crate::world::{FAST, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "metrics::promtool_has_no_complaint",
        &[Need::Cgroup, Need::Tool("promtool")],
        promtool,
    ),
    Case::beside("metrics::labels_are_bounded", &[Need::Cgroup], labels),
];

/// Those whose values are objects of the cluster, and so as many as there are of these.
const OF_OBJECTS: [&str; 6] = [
    "namespace",
    "pod",
    "workload",
    "workload_kind",
    "kind",
    "name",
];
/// Values that any other label may have at most: what the program itself can tell apart.
const FEW: usize = 20;

/// What the programs say that see this workload.
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
        let has = format!("ebb_workload_stable_load{{namespace=\"{namespace}\"");
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
