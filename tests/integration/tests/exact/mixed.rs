//! Several clients, servers and protocols at the same time in one cgroup. Ebb's totals match the servers' totals,
//! nothing stays in flight, and the kernel frees the memory of closed connections.

use std::fs;

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Nginx, Sample, Script, Service};
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Need, TestCgroup, full, note};

use super::INTERVAL;

pub(super) const CASES: &[Case] = &[Case::new(
    "exact::mixed_requests_of_many_clients",
    &[
        Need::Ebb,
        Need::Tool("nginx"),
        Need::Tool("node"),
        Need::Tool("h2load"),
        Need::Tool("hey"),
        Need::Tool("ab"),
    ],
    mixed,
)];

fn mixed() {
    let all: u64 = if full() { 10_000_000 } else { 200_000 };
    let percent = |share: u64| (all * share / 100).to_string();
    let cgroup = TestCgroup::new();
    let nginx = Nginx::start(&cgroup);
    let sample = Sample::start(&cgroup);
    let node = Service::start(Script::Node, &cgroup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let before = nginx.requests();
    let memory = unreclaimable();

    let (http1, http2) = (nginx.address(), nginx.http2_address());
    let short = percent(5);
    let clients = [
        (
            "h2load",
            format!("--h1 -c 20 -n {} http://{http1}/", percent(40)),
        ),
        (
            "h2load",
            format!("-c 10 -m 20 -n {} http://{http2}/", percent(35)),
        ),
        (
            "h2load",
            format!(
                "-c 4 -m 10 -n {} http://{}/?bytes=3000&chunked=1",
                percent(5),
                sample.address()
            ),
        ),
        (
            "h2load",
            format!(
                "--h1 -c 4 -n {} http://{}/trailers",
                percent(5),
                node.address()
            ),
        ),
        // `ab` uses HTTP/1.0 with one connection per request. It finds the end of a response by its length, and the
        // server closes the connection.
        (
            "ab",
            format!("-q -c 10 -n {short} http://{http1}/page.html"),
        ),
        (
            "ab",
            format!("-q -k -c 10 -n {short} http://{http1}/page.html"),
        ),
        (
            "hey",
            format!("-disable-keepalive -c 10 -n {short} http://{http1}/"),
        ),
    ]
    .map(|(program, options)| {
        let options: Vec<_> = options.split(' ').collect();
        Client::start(program, &options)
    });
    for client in clients {
        client.finish();
    }
    watch.settle();
    let served = nginx.requests() - before + sample.stats().requests + node.requests() + 1;
    assert_eq!(
        served,
        all + 2,
        "the servers' counts must include all requests and two queries of the counts"
    );
    watch.until("all closed", |_, line| line.connections == 0);
    let totals = watch.settle();
    assert_eq!(totals.ends(), Ends::answered(served + 1));

    let more = unreclaimable().saturating_sub(memory);
    let connections = 2 * all * 5 / 100;
    note(format!(
        "{served} mixed requests: all counted, none still in flight; {more} KiB more kernel memory \
         after {connections} connections"
    ));
    assert!(
        more < connections * STORAGE_KIB / 4,
        "{more} KiB of kernel memory not freed after {connections} connections"
    );
}

/// The minimum kernel memory of the socket storage of one connection, in KiB. If the kernel did not free it, memory
/// would grow by this amount per connection. The test allows a quarter of it, because other programs on the machine
/// change the value too.
const STORAGE_KIB: u64 = 1;

/// Returns the kernel memory that cannot be reclaimed, in KiB: `SUnreclaim` of /proc/meminfo (proc(5)).
fn unreclaimable() -> u64 {
    fs::read_to_string("/proc/meminfo")
        .expect("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("SUnreclaim:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
        .expect("SUnreclaim")
}
