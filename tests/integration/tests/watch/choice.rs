//! Which requests are counted and which are excluded: by the user's options and by the default rules.

use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::{Totals, Watch};
use ebb_fixtures::{Case, Need, TestCgroup, Wire};

const EBB: &[Need] = &[Need::Ebb];

pub(super) const CASES: &[Case] = &[
    Case::beside("watch::excluded_path_is_counted_apart", EBB, excluded_path),
    Case::beside("watch::kubelet_probes_are_counted_apart", EBB, probes),
    Case::beside(
        "watch::a_probe_known_late_is_taken_out_again",
        EBB,
        late_probe,
    ),
    Case::beside("watch::ports_given_are_the_ports_counted", EBB, ports),
];

const INTERVAL: &str = "100ms";

fn excluded_path() {
    let totals = counted(&["--exclude-path", "/metrics"], |wire| {
        wire.get("/metrics", "");
        assert_eq!(wire.response(), 200);
        wire.get("/metrics?sleep=100", "");
        assert_eq!(wire.response(), 200);
        // This path begins like the excluded path, but is a different path, so it must be counted.
        wire.get("/metricsandmore", "");
        assert_eq!(wire.response(), 200);
        wire.get("/", "");
        assert_eq!(wire.response(), 200);
    });
    assert_eq!((totals.requests, totals.excluded), (2, 2), "{totals:?}");
}

fn probes() {
    let totals = counted(&[], |wire| {
        for probe in [
            "User-Agent: kube-probe/1.30\r\n",
            "K-Network-Probe: queue\r\n",
            "K-Kubelet-Probe: value\r\n",
            "user-agent: kube-probe/1.30\r\n",
        ] {
            wire.get("/", probe);
            assert_eq!(wire.response(), 200);
        }
        wire.get("/", "User-Agent: curl/8\r\n");
        assert_eq!(wire.response(), 200);
    });
    assert_eq!((totals.requests, totals.excluded), (1, 4), "{totals:?}");
}

/// Sends a probe that is answered slowly, and whose identifying field comes after more than one packet of other fields.
/// The probe's time must not remain in the integral.
fn late_probe() {
    let padding = format!("X-Padding: {}\r\n", "p".repeat(1_000)).repeat(3);
    let totals = counted(&[], |wire| {
        wire.send(format!(
            "GET /?sleep=500 HTTP/1.1\r\nHost: test\r\n{padding}"
        ));
        wire.send("User-Agent: kube-probe/1.30\r\n\r\n");
        assert_eq!(wire.response(), 200);
    });
    assert_eq!((totals.requests, totals.excluded), (0, 1), "{totals:?}");
    assert!(totals.integral.abs() < 0.05, "{totals:?}");
}

/// Runs `traffic` on one connection to an `ebb-sample` that is watched with `arguments`. Returns the totals.
fn counted(arguments: &[&str], traffic: impl FnOnce(&mut Wire)) -> Totals {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, arguments);
    traffic(&mut Wire::connect(server.address()));
    watch.settle()
}

fn ports() {
    let cgroup = TestCgroup::new();
    let (one, other) = (Sample::start(&cgroup), Sample::start(&cgroup));
    let port = one.address().port().to_string();
    let mut watch = Watch::start(&cgroup, INTERVAL, &["--ports", &port]);
    for (server, requests) in [(&one, 3), (&other, 5)] {
        let mut wire = Wire::connect(server.address());
        for _ in 0..requests {
            wire.get("/", "");
            assert_eq!(wire.response(), 200);
        }
    }
    let totals = watch.settle();
    assert_eq!((totals.requests, totals.completed), (3, 3), "{totals:?}");
}
