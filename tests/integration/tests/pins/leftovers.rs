//! Pins that an earlier process left and that cannot be adopted are removed completely.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ebb_agent::pins::Version;
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Case, Need, TestCgroup, eventually};

use super::keeper::{Keeper, fail, with_bpffs};

/// Time limit for the kernel to release the links of a removed cgroup; this usually takes milliseconds.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "pins::another_layout_is_replaced",
        &[Need::Ebb],
        another_layout,
    ),
    Case::beside(
        "pins::a_layout_written_halfway_is_replaced",
        &[Need::Ebb],
        halfway,
    ),
    Case::beside(
        "pins::maps_of_another_shape_are_replaced",
        &[Need::Ebb],
        another_shape,
    ),
    Case::beside(
        "pins::links_pinned_halfway_are_replaced",
        &[Need::Ebb],
        half_a_pod,
    ),
    Case::beside("pins::a_cgroup_that_is_gone_is_let_go", &[Need::Ebb], gone),
    Case::beside("pins::detached_is_unpinned", &[Need::Ebb], detached),
    Case::beside("pins::one_at_a_time", &[Need::Ebb], in_use),
    Case::beside("pins::only_in_a_bpffs", &[Need::Ebb], elsewhere),
];

/// Returns the directory with the pins of the current layout. The tests do not check how many programs, links and maps
/// it contains, only whether they are removed.
fn layout(pins: &Path) -> PathBuf {
    pins.join(format!("v{}", Version::current().layout))
}

fn list(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Returns the directory of the only pinned pod.
fn pod(pins: &Path) -> PathBuf {
    let pods = layout(pins).join("pods");
    let names = list(&pods);
    assert_eq!(names.len(), 1, "{names:?}");
    pods.join(&names[0])
}

fn another_layout() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Sample::start(&cgroup);
        let old = Keeper::start(pins, Some(&cgroup), &["--layout", "4000000"]);
        let _ = server.stats();
        let remains = old.remains();
        assert!(remains.programs() > 0);
        old.kill();
        let mut new = Keeper::start(pins, Some(&cgroup), &[]);
        let first = new.first().clone();
        assert_eq!(first.layouts, ["v4000000"]);
        assert_eq!((first.adopted, first.dropped), (0, 0));
        assert_eq!(first.reading().started, 0, "counted anew");
        remains.assert_gone();
        assert_eq!(
            list(pins),
            [layout(pins).file_name().unwrap().to_str().unwrap()]
        );
        let _ = server.stats();
        let reading = new.until("the request", |reading| reading.completed == 1);
        assert_eq!(
            reading.started, 1,
            "the request must be counted once, because the old links are removed"
        );
    });
}

fn halfway() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Sample::start(&cgroup);
        let old = Keeper::start(pins, Some(&cgroup), &[]);
        let remains = old.remains();
        old.kill();
        fs::remove_file(layout(pins).join("maps/RULES")).expect("a pinned map");
        let mut new = Keeper::start(pins, Some(&cgroup), &[]);
        assert!(new.first().halfway);
        assert_eq!(new.first().adopted, 0);
        remains.assert_gone();
        let _ = server.stats();
        new.until("the request", |reading| {
            (reading.started, reading.completed) == (1, 1)
        });
        // If one pinned program is missing, no count is lost: all programs are loaded again, and replace the old ones.
        new.kill();
        let programs = layout(pins).join("programs");
        let build = programs.join(&list(&programs)[0]);
        fs::remove_file(build.join("http1_ingress")).expect("a pinned program");
        let mut new = Keeper::start(pins, Some(&cgroup), &[]);
        assert_eq!((new.first().adopted, new.first().exchanged), (1, 4));
        let _ = server.stats();
        new.until("another", |reading| {
            (reading.started, reading.completed) == (2, 2)
        });
    });
}

fn another_shape() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let old = Keeper::start(pins, Some(&cgroup), &[]);
        let remains = old.remains();
        old.kill();
        let maps = layout(pins).join("maps");
        fs::remove_file(maps.join("RULES")).expect("a pinned map");
        fs::hard_link(maps.join("PODS"), maps.join("RULES"))
            .expect("another map is pinned with this name");
        let new = Keeper::start(pins, Some(&cgroup), &[]);
        assert!(new.first().halfway);
        assert_eq!((new.first().adopted, new.first().counted), (0, 1));
        remains.assert_gone();
    });
}

fn half_a_pod() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Sample::start(&cgroup);
        Keeper::start(pins, Some(&cgroup), &["--exclude-path", "/stats"]).kill();
        fs::remove_file(pod(pins).join("http1_egress")).expect("a pinned link");
        let mut new = Keeper::start(pins, Some(&cgroup), &[]);
        let first = new.first().clone();
        assert_eq!((first.adopted, first.dropped, first.counted), (0, 1, 1));
        let _ = server.stats();
        let reading = new.until("the request", |reading| reading.completed == 1);
        // The request must be counted once, and by the current exclusion rules.
        assert_eq!((reading.started, reading.excluded), (1, 0));
        assert_eq!(
            list(&pod(pins)),
            [
                "connections",
                "http1_egress",
                "http1_ingress",
                "socket_release"
            ]
        );
    });
}

fn gone() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        Keeper::start(pins, Some(&cgroup), &[]).kill();
        drop(cgroup);
        // The kernel releases the links of a removed cgroup with a delay. A process that starts before the release
        // adopts the links, so the test starts processes repeatedly.
        eventually("the links are released", RELEASED_WITHIN, || {
            let new = Keeper::start(pins, None, &[]);
            let first = new.first();
            let found = (first.adopted, first.dropped, first.counted);
            new.kill();
            (found != (1, 0, 1)).then(|| assert_eq!(found, (0, 1, 0)))
        });
        assert_eq!(list(&layout(pins).join("pods")), [""; 0]);
    });
}

fn detached() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Sample::start(&cgroup);
        Keeper::start(pins, Some(&cgroup), &[]).kill();
        let _ = server.stats();
        let keeper = Keeper::start(pins, None, &["--detach"]);
        assert_eq!((keeper.first().adopted, keeper.first().counted), (1, 0));
        assert_eq!(list(&layout(pins).join("pods")), [""; 0]);
        keeper.kill();
        // The counters of a reused pod slot must begin at zero.
        let keeper = Keeper::start(pins, Some(&cgroup), &[]);
        assert_eq!(keeper.first().adopted, 0);
        assert_eq!(keeper.first().reading().started, 0);
    });
}

fn in_use() {
    with_bpffs(|pins| {
        let first = Keeper::start(pins, None, &[]);
        let end = fail(pins, &["--layout", "4000000"]);
        assert_eq!(end.code, Some(1), "{}", end.stderr);
        let expected = format!("{}: another agent counts with these pins", pins.display());
        assert!(end.stderr.contains(&expected), "{}", end.stderr);
        assert_eq!(
            list(pins),
            [layout(pins).file_name().unwrap().to_str().unwrap()]
        );
        // The lock on the pins ends with the process that holds it, so the next process can start.
        first.kill();
        Keeper::start(pins, None, &[]).kill();
    });
}

fn elsewhere() {
    let directory = tempfile::tempdir().expect("a folder");
    let end = fail(&directory.path().join("ebb"), &[]);
    assert_eq!(end.code, Some(1), "{}", end.stderr);
    assert!(
        end.stderr.contains("not in a bpf file system"),
        "{}",
        end.stderr
    );
    assert!(!directory.path().join("ebb").exists());
}
