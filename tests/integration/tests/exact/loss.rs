//! Networks that lose, duplicate and reorder packets. TCP repairs this for the two endpoints of a connection. The
//! counter sits between them and must repair it itself: gaps in a header section, bytes that arrive twice, parts of a
//! body in reverse order.

use std::fmt::Write;

use ebb_fixtures::client::Client;
use ebb_fixtures::net::{Faults, Pair, SERVER};
use ebb_fixtures::server::{Nginx, Sample, ServerSite};
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Need, TestCgroup, full, note};

use super::INTERVAL;

const LOSS: &[Need] = &[
    Need::Ebb,
    Need::Loss,
    Need::Tool("nginx"),
    Need::Tool("h2load"),
];
const RELAY: &[Need] = &[
    Need::Ebb,
    Need::Tun,
    Need::Tool("nginx"),
    Need::Tool("h2load"),
];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::loss_http1", LOSS, || {
        lossy(Protocol::Http1, |_| {});
    }),
    Case::beside("exact::loss_http1_without_offloads", LOSS, || {
        lossy(Protocol::Http1, without_offloads);
    }),
    Case::beside("exact::loss_http1_mtu_576", LOSS, || {
        lossy(Protocol::Http1, mtu_576);
    }),
    Case::beside("exact::loss_http2", LOSS, || {
        lossy(Protocol::Http2, |_| {});
    }),
    Case::beside("exact::loss_http2_without_offloads", LOSS, || {
        lossy(Protocol::Http2, without_offloads);
    }),
    Case::beside("exact::loss_http2_mtu_576", LOSS, || {
        lossy(Protocol::Http2, mtu_576);
    }),
    Case::beside("exact::doubled_and_reordered_http1", RELAY, || {
        relayed(Protocol::Http1, SHUFFLED);
    }),
    Case::beside("exact::doubled_and_reordered_http2", RELAY, || {
        relayed(Protocol::Http2, SHUFFLED);
    }),
    Case::beside("exact::lost_doubled_and_reordered_http1", RELAY, || {
        relayed(Protocol::Http1, ALL_FAULTS);
    }),
    Case::beside("exact::lost_doubled_and_reordered_http2", RELAY, || {
        relayed(Protocol::Http2, ALL_FAULTS);
    }),
];

const PERCENT_LOST: u32 = 5;

const SHUFFLED: Faults = Faults {
    lost: 0,
    doubled: 50,
    late: 150,
};
const ALL_FAULTS: Faults = Faults {
    lost: PERCENT_LOST * 10,
    doubled: 20,
    late: 100,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Switches offloads off: only then does veth split data into packets as a physical network would.
fn without_offloads(pair: &Pair) {
    pair.offloads("tso off gso off gro off");
}

fn mtu_576(pair: &Pair) {
    without_offloads(pair);
    pair.mtu(576);
}

fn lossy(protocol: Protocol, set_up: fn(&Pair)) {
    let pair = Pair::veth();
    set_up(&pair);
    exact_over(&pair, protocol, |pair| pair.lose(PERCENT_LOST));
    let again = (pair.server.retransmissions(), pair.client.retransmissions());
    assert!(
        again.0 > 10 && again.1 > 10,
        "too little packet loss for this test: {again:?} segments retransmitted"
    );
    note(format!(
        "{protocol:?} with {PERCENT_LOST} % packet loss: segments retransmitted by server and client: {again:?}"
    ));
}

fn relayed(protocol: Protocol, faults: Faults) {
    const SEED: u64 = 20_260_722;
    let (pair, relay) = Pair::relayed(faults, SEED);
    exact_over(&pair, protocol, |_| {});
    let counts = relay.counts();
    assert!(
        counts.late > 100 && counts.doubled > 100 && (counts.lost > 100) == (faults.lost > 0),
        "too few network faults for this test: {counts:?}"
    );
    note(format!("{protocol:?}, seed {SEED}: {counts:?}"));
}

/// Sends many concurrent small requests, whose header sections span several packets; then downloads and uploads large
/// bodies.
fn exact_over(pair: &Pair, protocol: Protocol, spoil: impl FnOnce(&Pair)) {
    let cgroup = TestCgroup::new();
    let place = ServerSite::at(&cgroup, SERVER);
    let (nginx, sample) = pair
        .server
        .inside(|| (Nginx::start(place), Sample::start(place)));
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let before = pair.server.inside(|| nginx.requests());
    spoil(pair);

    let times = if full() { 20 } else { 1 };
    let upload = tempfile::NamedTempFile::new().expect("a file");
    upload
        .as_file()
        .set_len(500_000)
        .expect("500 KB of nothing");
    let upload = upload.path().to_str().expect("a path in UTF-8");
    let address = match protocol {
        Protocol::Http1 => nginx.address(),
        Protocol::Http2 => nginx.http2_address(),
    };
    let (small, large) = (
        format!("http://{address}/"),
        format!("http://{address}/large"),
    );
    let taken = format!("http://{}/", sample.address());
    pair.client.inside(|| {
        load(protocol, 300 * times, 20, &["-H", &padding(), &small]);
        load(protocol, 4, 4, &["-H", "range: bytes=0-1999999", &large]);
        load(protocol, 4, 4, &["-d", upload, &taken]);
    });
    watch.settle();
    let served = pair.server.inside(|| {
        let uploads = sample.stats().requests;
        assert_eq!(
            uploads, 4,
            "the number of uploads that the server itself has counted"
        );
        nginx.requests() - before + uploads + 1
    });
    let totals = watch.settle();
    assert_eq!(
        totals.ends(),
        Ends::answered(served + 1),
        "{served} requests, and one query of the server's count, must be counted"
    );
}

/// Returns a header field of 3 KiB. The header section is then longer than a packet, so packet loss leaves gaps in it.
fn padding() -> String {
    let mut field = String::from("x-padding: ");
    for number in 0..500 {
        write!(field, "{number:06}").expect("a text grows");
    }
    field
}

/// Sends `requests` requests, `at_once` of them concurrently: HTTP/1 with `at_once` connections, HTTP/2 with `at_once /
/// 4` streams on each of four connections.
fn load(protocol: Protocol, requests: u64, at_once: u64, what: &[&str]) {
    let (count, connections, streams) = (
        requests.to_string(),
        at_once.to_string(),
        (at_once / 4).to_string(),
    );
    let mut options = vec!["-n", &count];
    match protocol {
        Protocol::Http1 => options.extend(["--h1", "-c", &connections]),
        Protocol::Http2 => options.extend(["-c", "4", "-m", &streams]),
    }
    options.extend(what);
    let report = Client::start("h2load", &options).finish();
    let all_well = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(report.contains(&all_well), "{report}");
}
