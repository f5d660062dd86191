//! Mean concurrency, compared with the oracle: the exact integral that the server keeps.
//!
//! The kernel sees a request earlier than the server does, because the request waits in the socket until the server
//! reads it. So on a loaded machine, the kernel's mean is higher, and this is correct. The difference comes from the
//! machine and is not an error of the count. The test therefore tries up to three times, and records each result.

use std::io::Write;
use std::time::Duration;

use ebb_fixtures::client::Client;
use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::Watch;
use ebb_fixtures::{Case, Need, TestCgroup, full, note};

const NEEDS: &[Need] = &[Need::Ebb, Need::Tool("h2load")];
const FULL: &[Need] = &[Need::Full, Need::Ebb, Need::Tool("h2load")];

pub(super) const CASES: &[Case] = &[
    Case::new("exact::mean_of_1_http1", NEEDS, || within(Load::http1(1))),
    Case::new("exact::mean_of_20_http1", FULL, || within(Load::http1(20))),
    Case::new("exact::mean_of_500_http1", NEEDS, || {
        within(Load::http1(500));
    }),
    Case::new("exact::mean_of_1_http2", NEEDS, || {
        within(Load::http2(1, 1));
    }),
    Case::new("exact::mean_of_20_http2", FULL, || {
        within(Load::http2(4, 5));
    }),
    Case::new("exact::mean_of_500_http2", NEEDS, || {
        within(Load::http2(10, 50));
    }),
];

/// The promised maximum relative error.
const MOST_OFF: f64 = 0.005;
const TRIES: u32 = 3;

/// The load: its protocol, and its number of concurrent requests (`connections` × `streams`).
#[derive(Debug, Clone, Copy)]
struct Load {
    http2: bool,
    connections: u64,
    streams: u64,
}

impl Load {
    fn http1(connections: u64) -> Self {
        Self {
            http2: false,
            connections,
            streams: 1,
        }
    }

    fn http2(connections: u64, streams: u64) -> Self {
        Self {
            http2: true,
            connections,
            streams,
        }
    }

    fn in_flight(self) -> u64 {
        self.connections * self.streams
    }
}

fn within(load: Load) {
    let time = Duration::from_secs(if full() { 20 } else { 3 });
    let mut off = Vec::new();
    for _ in 0..TRIES {
        let (watched, oracle) = means(load, time);
        off.push(watched / oracle - 1.0);
        note(format!(
            "{} concurrent requests of about 500 ms for {time:?}, HTTP/{}: \
             mean concurrency {watched:.3}, oracle {oracle:.3}, difference {:+.2} %",
            load.in_flight(),
            if load.http2 { 2 } else { 1 },
            (watched / oracle - 1.0) * 100.0
        ));
        if off.iter().any(|off| off.abs() < MOST_OFF) {
            return;
        }
    }
    panic!("the relative error of every try exceeds {MOST_OFF}: {off:?}");
}

/// Returns the mean concurrency as `ebb watch` reports it, and the oracle's mean.
fn means(load: Load, time: Duration) -> (f64, f64) {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut watch = Watch::start(&cgroup, "250ms", &[]);
    // The durations of the requests differ slightly. With equal durations, clients that begin at the same time would
    // stay synchronised, and the oracle would depend on how fast the server accepts their requests.
    let mut urls = tempfile::NamedTempFile::new().expect("a file");
    for sleep in (470..=530).step_by(3) {
        writeln!(urls, "http://{}/?sleep={sleep}", server.address()).expect("a list of URLs");
    }
    let (connections, streams) = (load.connections.to_string(), load.streams.to_string());
    let urls = urls.path().to_str().expect("a path in UTF-8");
    // The load would last 120 s, longer than the measurement; the test stops the client earlier.
    let mut options = vec!["-D", "120", "-c", &connections, "-m", &streams, "-i", urls];
    if !load.http2 {
        options.push("--h1");
    }
    let client = Client::start("h2load", &options);
    watch.until("all in flight", |_, line| {
        line.in_flight == load.in_flight()
    });
    // The server's integral is read right after the line of `ebb watch` that begins the measurement, and right after
    // the line that ends it. So both readings have the same short delay.
    watch.line_after(Duration::from_secs(1));
    let from = server.stats();
    let watched = watch.measure(time);
    let to = server.stats();
    client.stop();
    (watched.integral / watched.time, to.mean_since(&from))
}
