//! nginx at full speed: no request may be missed or counted twice, and none may stay in flight.

use std::time::Duration;

use ebb_fixtures::client::Client;
use ebb_fixtures::server::Nginx;
use ebb_fixtures::watch::Watch;
use ebb_fixtures::{Case, Need, TestCgroup, full, note};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "watch::nginx_count_is_exact",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("h2load")],
        count_is_exact,
    ),
    Case::beside(
        "watch::nginx_count_is_exact_when_a_load_is_cut_off",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("wrk")],
        cut_off,
    ),
    Case::beside(
        "watch::nginx_count_is_exact_when_bytes_make_the_connection",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("hey")],
        deferred,
    ),
    Case::beside(
        "watch::nginx_count_is_exact_with_a_full_accept_queue",
        &[Need::Ebb, Need::Tool("nginx"), Need::Tool("hey")],
        full_queue,
    ),
];

/// The promised maximum time from the end of the load until nothing is in flight.
const QUIET_AFTER: Duration = Duration::from_secs(2);

fn count_is_exact() {
    let requests: u64 = if full() { 1_000_000 } else { 100_000 };
    against_nginx(|address| {
        let url = format!("http://{address}/");
        let load = Client::start(
            "h2load",
            &["--h1", "-c", "50", "-n", &requests.to_string(), &url],
        );
        let report = load.finish();
        let all_well = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(report.contains(&all_well), "{report}");
    });
}

/// wrk stops after two seconds, and closes its connections in the middle of requests and responses.
fn cut_off() {
    against_nginx(|address| {
        let url = format!("http://{address}/page.html");
        Client::start("wrk", &["-t", "1", "-c", "50", "-d", "2s", &url]).finish();
    });
}

/// With `TCP_DEFER_ACCEPT`, the kernel creates a connection only when the packet with the request arrives.
fn deferred() {
    against("deferred", |address| connection_each(address, 5_000));
}

/// The accept queue is full, so the kernel drops the last packet of the handshake; the client sends its request anyway.
fn full_queue() {
    against("backlog=1", |address| connection_each(address, 1_000));
}

fn connection_each(address: std::net::SocketAddr, requests: u32) {
    let url = format!("http://{address}/");
    let count = requests.to_string();
    let options = [
        "-disable-keepalive",
        "-t",
        "60",
        "-c",
        "50",
        "-n",
        &count,
        &url,
    ];
    let report = Client::start("hey", &options).finish();
    assert!(
        report.contains(&format!("[200]\t{requests} responses")),
        "{report}"
    );
}

fn against_nginx(load: impl FnOnce(std::net::SocketAddr)) {
    against("", load);
}

fn against(listen: &str, load: impl FnOnce(std::net::SocketAddr)) {
    let cgroup = TestCgroup::new();
    let server = Nginx::start_with(&cgroup, listen);
    let mut watch = Watch::start(&cgroup, "500ms", &[]);
    // nginx's count is queried twice, and Ebb counts both queries. nginx's answer includes the query itself, so the
    // difference of the two answers includes only one of the queries.
    let before = server.requests();
    load(server.address());
    let line = watch.line_after(QUIET_AFTER);
    assert_eq!(
        line.in_flight, 0,
        "requests in flight two seconds after the load ended"
    );
    // nginx's count is queried only after the wait: clients that have closed may have sent requests that nginx had not
    // read before.
    let after = server.requests();
    let totals = watch.settle();
    assert_eq!(
        totals.requests,
        after - before + 1,
        "left: Ebb's count; right: nginx's count"
    );
    note(format!(
        "nginx counted {} requests, ebb watch {}",
        after - before + 1,
        totals.requests
    ));
}
