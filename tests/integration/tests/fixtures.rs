//! Tests of the fixtures themselves: a wrong oracle would make every test that uses it worthless.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Nginx, Sample, Scripted, Then};
use ebb_fixtures::{Case, Need, Process, TestCgroup, Wire, eventually};

const CGROUP: &[Need] = &[Need::Cgroup];

pub(crate) const CASES: &[Case] = &[
    Case::beside(
        "fixtures::a_cgroup_takes_its_processes_with_it",
        CGROUP,
        cgroup,
    ),
    Case::new("fixtures::the_oracle_has_the_integral", CGROUP, integral),
    Case::beside("fixtures::the_oracle_sees_a_client_leave", CGROUP, abort),
    Case::new(
        "fixtures::nginx_counts_what_is_sent",
        &[Need::Cgroup, Need::Tool("nginx"), Need::Tool("h2load")],
        nginx,
    ),
    Case::beside(
        "fixtures::a_scripted_server_answers_as_told",
        &[Need::Cgroup, Need::Tool("python3")],
        scripted,
    ),
];

const SOON: Duration = Duration::from_secs(10);

fn cgroup() {
    let cgroup = TestCgroup::new();
    let path = cgroup.path().to_path_buf();
    let mut command = Command::new("sleep");
    command.arg("60");
    let mut process = Process::start(command, Some(&cgroup));
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", process.pid())).expect("a cgroup");
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    assert!(own.contains(&format!("0::/{name}\n")), "{own}");
    drop(cgroup);
    assert!(!Path::new(&path).exists());
    assert!(!process.wait(SOON).success());
}

fn integral() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let before = server.stats();
    let mut wire = Wire::connect(server.address());
    // The server waits 100 ms before the header, and sends four pieces with three pauses of 100 ms between them.
    wire.get("/?sleep=100&bytes=65536&drip=100", "");
    assert_eq!(wire.response(), 200);
    let after = server.stats();
    assert_eq!(after.requests - before.requests, 1);
    let integral = after.integral - before.integral;
    assert!((0.4..0.6).contains(&integral), "{integral}");
}

fn abort() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut wire = Wire::connect(server.address());
    wire.get("/?sleep=60000", "");
    eventually("in flight", SOON, || {
        (server.stats().in_flight == 1).then_some(())
    });
    drop(wire);
    eventually("gone", SOON, || {
        (server.stats().in_flight == 0).then_some(())
    });
}

fn nginx() {
    let cgroup = TestCgroup::new();
    let server = Nginx::start(&cgroup);
    let before = server.requests();
    let url = format!("http://{}/", server.address());
    Client::start("h2load", &["--h1", "-c", "10", "-n", "1000", &url]).finish();
    // 1 001 = 1 000 requests of the load + the second query of the count.
    assert_eq!(server.requests() - before, 1_001);
}

fn scripted() {
    let cgroup = TestCgroup::new();
    let server = Scripted::start(&cgroup, "HTTP/1.1 200 OK\r\n\r\ntext", Then::Close);
    let mut wire = Wire::connect(server.address());
    wire.get("/", "");
    assert!(wire.header().starts_with("HTTP/1.1 200 OK"));
    assert_eq!(wire.to_end(), 4);
}
