//! Pinned programs go on counting while no process owns them, and the next process adopts them.

use std::path::Path;

use ebb_agent::{
    Reading, Rules,
    counter::{Adoption, Counter},
    pins::{Pins, Version},
};
use ebb_fixtures::{
    TestCgroup, Wire, eventually,
    server::{Scripted, Then},
};

use super::Check;
use crate::{
    MissingFeature, Verdict,
    counted::{Count, SOON},
};

pub(super) const CHECKS: &[Check] = &[("pinned: counted on without a process", pinned)];

/// The mount point of bpffs on the machine, and the directory that this check uses in it.
const BPFFS: &str = "/sys/fs/bpf";
const ROOT: &str = "/sys/fs/bpf/ebb-kernel-check";

fn pinned() -> Verdict {
    let types = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    if !types.contains(&format!(" {BPFFS} bpf ")) {
        return Err(MissingFeature(format!("no bpffs at {BPFFS}")));
    }
    let _root = Root;
    let cgroup = TestCgroup::new();
    // The scripted server closes no idle connection: the check loads the programs between two requests, which takes
    // time.
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let server = Scripted::pieces(&cgroup, Then::Keep, &[response]);

    let (mut counter, _) = adopt(&Version::current());
    counter
        .attach(cgroup.path(), &Rules::default())
        .unwrap_or_else(|error| panic!("{error}"));
    let mut wire = Wire::connect(server.address());
    let mut ask = || {
        wire.get("/", "");
        assert_eq!(wire.response(), 200);
    };
    ask();
    drop(counter);
    // This request is sent while no process owns the counting, and must be counted too.
    ask();
    let (counter, found) = adopt(&Version::current());
    assert_eq!((found.adopted, found.exchanged), (1, 0), "{found:?}");
    assert_eq!(reading(&counter, &cgroup).started, 2);
    drop(counter);

    // A new build with the same map layout adopts the pins: its programs replace the programs in the links.
    let other = Version {
        build: "another".to_owned(),
        ..Version::current()
    };
    let (counter, found) = adopt(&other);
    assert_eq!((found.adopted, found.exchanged), (1, 4), "{found:?}");
    ask();
    drop(wire);
    eventually("every connection is closed", SOON, || {
        (reading(&counter, &cgroup).connections == 0).then_some(())
    });
    assert_eq!(Count::from(&reading(&counter, &cgroup)), Count::of(3));
    Ok(())
}

fn adopt(version: &Version) -> (Counter, Adoption) {
    let pins = Pins::open_as(Path::new(ROOT), version.clone());
    let pins = pins.unwrap_or_else(|error| panic!("{error}"));
    Counter::pinned(pins).unwrap_or_else(|error| panic!("{error}"))
}

fn reading(counter: &Counter, cgroup: &TestCgroup) -> Reading {
    let id = ebb_agent::cgroup::id(cgroup.path()).expect("the cgroup's id");
    let pod = counter.find(id).expect("the cgroup is counted");
    counter.read(pod).unwrap_or_else(|error| panic!("{error}"))
}

/// Dropping this value removes everything that the check has pinned, whatever the result of the check is.
struct Root;

impl Drop for Root {
    fn drop(&mut self) {
        let removed = Pins::open(Path::new(ROOT)).and_then(Pins::remove);
        if let Err(error) = removed {
            eprintln!("{error}");
        }
    }
}
