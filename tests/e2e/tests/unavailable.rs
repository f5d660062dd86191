//! A node on which the agent cannot count requests. The agent reports the reason in an Event, its readiness, its
//! metrics and its log, and keeps running.

use std::time::Duration;

use ebb_e2e::SOON;
use ebb_e2e::agent::Agent;
use ebb_fixtures::{Case, Need, eventually};

use crate::world::{World, await_event, shared};

/// Wrapper command that makes the kernel report version 2.6 (`UNAME26` of personality(2)).
pub(crate) const OLD: [&str; 2] = ["setarch", "--uname-2.6"];

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "unavailable::without_cgroup_v2",
        &[Need::Kernel, Need::Mounts, Need::Tool("unshare")],
        without_cgroup_v2,
    ),
    Case::beside(
        "unavailable::with_a_kernel_that_is_too_old",
        &[Need::Kernel, Need::Tool("setarch")],
        old_kernel,
    ),
];

/// Unmounts every cgroup v2 mount before the agent starts, in a separate mount namespace.
fn without_cgroup_v2() {
    let unmount = r#"sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - cgroup2 .*/\1/p' /proc/self/mountinfo |
        while read -r mount; do umount --lazy "$mount"; done
        exec "$@""#;
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        unmount,
        "sh",
    ];
    says(&shared(), &wrapper, "CgroupV1", "cgroup v1 only");
}

fn old_kernel() {
    old_kernel_in(&shared());
}

/// Starts an agent in this cluster on a kernel that reports too old a version, and checks how the agent reports this.
pub(crate) fn old_kernel_in(world: &World) {
    says(world, &OLD, "KernelTooOld", "needs Linux 5.10");
}

fn says(world: &World, wrapper: &[&str], reason: &str, words: &str) {
    let node = format!("node-{}", reason.to_lowercase());
    let agent = Agent::start_by(
        wrapper,
        &world.cluster,
        &world.kubelet,
        &node,
        &[world.replica()],
    );
    let note = await_event(world.api(), "default", "Node", &node, reason);
    assert!(note.contains(words), "{note}");
    let ready = eventually("readiness", SOON, || {
        agent.get("/readyz").filter(|(status, _)| *status == 200)
    });
    assert!(ready.1.contains(words), "{ready:?}");
    let (_, metrics) = agent.get("/metrics").unwrap();
    let sample = format!("ebb_agent_unavailable{{reason=\"{reason}\"}} 1");
    assert!(metrics.lines().any(|line| line == sample), "{metrics}");
    assert!(
        metrics.lines().any(|line| line == "ebb_agent_counting 0"),
        "{metrics}"
    );
    assert!(agent.log().contains(words), "{}", agent.log());
    // The agent must keep running: 2 s later it must still be healthy.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(agent.get("/healthz").map(|(status, _)| status), Some(200));
}
