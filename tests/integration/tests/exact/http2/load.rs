//! Many streams on many connections: for each number of streams and connections, Ebb's count matches the server's
//! count.

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Nginx, Sample};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, full};

use crate::exact::watched;

const NEEDS: &[Need] = &[Need::Ebb, Need::Tool("nginx"), Need::Tool("h2load")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::streams_1_connections_1", NEEDS, || {
        load(1, 1)
    }),
    Case::beside("exact::http2::streams_2_connections_1", NEEDS, || {
        load(2, 1)
    }),
    Case::beside("exact::http2::streams_10_connections_1", NEEDS, || {
        load(10, 1);
    }),
    Case::beside("exact::http2::streams_100_connections_1", NEEDS, || {
        load(100, 1);
    }),
    Case::beside("exact::http2::streams_1_connections_50", NEEDS, || {
        load(1, 50);
    }),
    Case::beside("exact::http2::streams_2_connections_50", NEEDS, || {
        load(2, 50);
    }),
    Case::beside("exact::http2::streams_10_connections_50", NEEDS, || {
        load(10, 50);
    }),
    Case::beside("exact::http2::streams_100_connections_50", NEEDS, || {
        load(100, 50);
    }),
];

/// Loads nginx, and then hyper with responses of several frames.
fn load(streams: u32, connections: u32) {
    let requests: u64 = if full() { 200_000 } else { 5_000 };
    let (n, m, c) = (
        requests.to_string(),
        streams.to_string(),
        connections.to_string(),
    );
    let totals = watched(
        |cgroup| (Nginx::start(cgroup), Sample::start(cgroup)),
        |(nginx, sample), watch| {
            let before = nginx.requests();
            for url in [
                format!("http://{}/", nginx.http2_address()),
                format!("http://{}/?bytes=40000", sample.address()),
            ] {
                let options = ["-n", &n, "-m", &m, "-c", &c, &url];
                let report = Client::start("h2load", &options).finish();
                let all_well = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
                assert!(report.contains(&all_well), "{report}");
            }
            watch.settle();
            let served = nginx.requests() - before + sample.stats().requests;
            assert_eq!(served, 2 * requests + 1, "the servers' counts");
        },
    );
    assert_eq!(
        totals.ends(),
        Ends::answered(2 * requests + 3),
        "all requests of the load, and three queries of the servers' counts, must be counted"
    );
}
