//! Counting continues while the counting process is killed, and while its kernel programs are replaced.

use std::net::SocketAddr;
use std::path::Path;

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Nginx, Sample};
use ebb_fixtures::{Case, Need, TestCgroup, Wire, eventually, full, note};

use super::keeper::{Keeper, SOON, start_and_kill, with_bpffs};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "pins::no_request_is_lost_or_doubled_by_kill_9",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("h2load")],
        killed,
    ),
    Case::new(
        "pins::no_request_is_lost_or_doubled_when_each_has_its_connection",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("hey")],
        killed_with_short_connections,
    ),
    Case::new(
        "pins::no_request_is_lost_or_doubled_when_programs_are_exchanged",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("h2load")],
        exchanged,
    ),
    Case::beside(
        "pins::a_request_in_flight_stays_so_across_a_restart",
        &[Need::Ebb],
        in_flight,
    ),
    Case::new(
        "pins::killed_at_any_moment_of_its_start",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("wrk")],
        killed_early,
    ),
    Case::beside("pins::rules_are_taken_over", &[Need::Ebb], rules),
];

/// The minimum number of restarts in one run of the test.
const RESTARTS: usize = 3;

fn killed() {
    let requests: u64 = if full() { 1_000_000 } else { 500_000 };
    let start = keep_alive(requests);
    under_load(start, |pins, cgroup, _| {
        let keeper = Keeper::start(pins, Some(cgroup), &[]);
        assert_eq!((keeper.first().adopted, keeper.first().exchanged), (1, 0));
        keeper
    });
}

fn killed_with_short_connections() {
    let requests = if full() { 200_000 } else { 30_000 };
    let start = |address: SocketAddr| {
        let (url, count) = (format!("http://{address}/"), requests.to_string());
        let arguments = ["-disable-keepalive", "-c", "20", "-n", &count, &url];
        Client::start("hey", &arguments)
    };
    under_load(start, |pins, cgroup, _| {
        Keeper::start(pins, Some(cgroup), &[])
    });
}

fn exchanged() {
    let requests: u64 = if full() { 1_000_000 } else { 500_000 };
    let start = keep_alive(requests);
    under_load(start, |pins, cgroup, number| {
        let build = format!("build{number}");
        let keeper = Keeper::start(pins, Some(cgroup), &["--build", &build]);
        // The new process must have replaced the programs of all four links.
        assert_eq!((keeper.first().adopted, keeper.first().exchanged), (1, 4));
        let builds = std::fs::read_dir(pins).expect("pins");
        let layout = builds.flatten().next().expect("a layout").path();
        let builds = std::fs::read_dir(layout.join("programs")).expect("programs");
        let builds: Vec<_> = builds.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(builds, [build.as_str()]);
        keeper
    });
}

fn keep_alive(requests: u64) -> impl Fn(SocketAddr) -> Client + Send + Sync {
    move |address| {
        let (url, count) = (format!("http://{address}/"), requests.to_string());
        Client::start("h2load", &["--h1", "-c", "50", "-n", &count, &url])
    }
}

/// Kills the counting process and starts another with `again`, repeatedly while the load lasts. Repeats the load until
/// there have been [`RESTARTS`] restarts. The duration of a restart depends on the machine, mainly if the verifier
/// checks all programs again.
fn under_load(
    start: impl Fn(SocketAddr) -> Client + Send + Sync,
    again: impl Fn(&Path, &TestCgroup, usize) -> Keeper + Send + Sync,
) {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Nginx::start(&cgroup);
        let mut keeper = Keeper::start(pins, Some(&cgroup), &[]);
        let since = keeper.first().reading().since;
        assert_eq!(keeper.first().adopted, 0);
        // nginx's count is queried twice, and Ebb counts both queries. nginx's answer includes the query itself.
        let before = server.requests();
        let began = std::time::Instant::now();
        let mut restarts = 0;
        while restarts < RESTARTS {
            let mut load = start(server.address());
            while load.is_running() {
                keeper.kill();
                restarts += 1;
                keeper = again(pins, &cgroup, restarts);
            }
        }
        let took = began.elapsed();
        let after = server.requests();
        let reading = keeper.until("nothing in flight", |reading| reading.in_flight == 0);
        assert_eq!(
            reading.since, since,
            "the counters must not be reset during the test"
        );
        assert_eq!(
            reading.started,
            after - before + 1,
            "left: Ebb's count; right: nginx's count; after {restarts} restarts"
        );
        assert_eq!(reading.completed, reading.started);
        assert_eq!(reading.connections, 0);
        note(format!(
            "{} requests at {:.0}/s, {restarts} restarts of the counting process: \
             Ebb's count and nginx's count are equal",
            reading.started,
            reading.started as f64 / took.as_secs_f64()
        ));
    });
}

/// A process may be killed at any moment of its first start, or while it replaces programs. The next process must
/// always be able to continue from what the killed process left.
fn killed_early() {
    let moments: u32 = if full() { 100 } else { 10 };
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Nginx::start(&cgroup);
        let timed = std::time::Instant::now();
        Keeper::start(pins, Some(&cgroup), &["--detach"]).kill();
        let start = timed.elapsed();
        // Processes are killed at evenly spaced moments, from the start of the process to 10 % after the time at which
        // it prints its first line.
        let moment = |number: u32| start * 11 / 10 * number / moments;
        for number in 0..moments {
            // Each layout number has a new directory, so the process starts without pins.
            let layout = (4_000_000 + number).to_string();
            start_and_kill(pins, &cgroup, moment(number), &["--layout", &layout]);
            start_and_kill(pins, &cgroup, moment(number), &["--layout", &layout]);
        }
        let keeper = Keeper::start(pins, Some(&cgroup), &[]);
        let since = keeper.first().reading().since;
        keeper.kill();
        let before = server.requests();
        let url = format!("http://{}/", server.address());
        // The client would send requests for 600 s. The test stops it as soon as it needs no more load.
        let load = Client::start("wrk", &["-t", "1", "-c", "50", "-d", "600s", &url]);
        for number in 0..moments {
            let build = format!("build{number}");
            start_and_kill(pins, &cgroup, moment(number), &["--build", &build]);
        }
        load.stop();
        let mut keeper = Keeper::start(pins, Some(&cgroup), &[]);
        assert_eq!(keeper.first().adopted, 1);
        // nginx's count is queried only after all connections have closed: clients that have closed may have sent
        // requests that nginx had not read before.
        keeper.until("nothing in flight", |reading| reading.connections == 0);
        let after = server.requests();
        let reading = keeper.until("nothing in flight", |reading| reading.in_flight == 0);
        assert_eq!(
            reading.since, since,
            "the counters must not be reset during the test"
        );
        assert_eq!(
            reading.started,
            after - before + 1,
            "left: Ebb's count; right: nginx's count"
        );
    });
}

fn in_flight() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Sample::start(&cgroup);
        let keeper = Keeper::start(pins, Some(&cgroup), &[]);
        let mut wire = Wire::connect(server.address());
        // The server answers only after it has received the body, so the test decides how long the request is in
        // flight.
        wire.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n");
        eventually("the request is in flight at the server", SOON, || {
            (server.stats().in_flight == 1).then_some(())
        });
        keeper.kill();
        let mut keeper = Keeper::start(pins, Some(&cgroup), &["--build", "another"]);
        // The queries of the server's statistics are counted requests too, but they have ended: only the POST request
        // is in flight.
        let reading = keeper.until("in flight", |_| true);
        assert_eq!(reading.in_flight, 1, "{reading:?}");
        wire.send("body");
        assert_eq!(wire.response(), 200);
        drop(wire);
        let reading = keeper.until("nothing in flight", |reading| {
            reading.in_flight == 0 && reading.connections == 0
        });
        assert_eq!(reading.completed, reading.started);
        assert_eq!(reading.aborted, 0);
    });
}

fn rules() {
    with_bpffs(|pins| {
        let cgroup = TestCgroup::new();
        let server = Sample::start(&cgroup);
        let paths = ["--exclude-path", "/stats", "--exclude-path", "/metrics"];
        let keeper = Keeper::start(pins, Some(&cgroup), &paths);
        let _ = server.stats();
        keeper.kill();
        // The new process is started without paths to exclude: it reads them back from the pinned maps.
        let mut keeper = Keeper::start(pins, Some(&cgroup), &[]);
        let first = keeper.first().reading().clone();
        assert_eq!(first.exclude_paths, ["/metrics", "/stats"]);
        let _ = server.stats();
        let reading = keeper.until("one more excluded", |reading| {
            reading.excluded > first.excluded
        });
        assert_eq!(reading.started, first.started);
    });
}
