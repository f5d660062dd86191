//! What Prometheus is told.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ebb_tests::cluster::SOON;
use ebb_tests::harness::{Case, Need, eventually};

use crate::world::{FAST, shared};

pub(crate) const CASES: &[Case] = &[Case::new(
    "metrics::promtool_has_no_complaint",
    &[Need::Tool("promtool")],
    promtool,
)];

fn promtool() {
    let world = shared();
    let app = world.app("metrics", "web", 1, &[FAST]);
    let traffic = app.traffic(2);
    traffic.set(2);
    let text = eventually("the workload's metrics", SOON, || {
        let (status, text) = world.replica().get("/metrics")?;
        assert_eq!(status, 200);
        text.contains("ebb_workload_stable_load{namespace=\"metrics\"")
            .then_some(text)
    });
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
