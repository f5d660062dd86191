//! Packets of unusual shapes: TCP Fast Open and BIG TCP.

use std::net::{Ipv4Addr, Ipv6Addr};

use ebb_fixtures::client::curl;
use ebb_fixtures::net::{NetNs, allow_fast_open};
use ebb_fixtures::server::{Nginx, Sample, ServerSite};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, note};

use super::watched;

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::fast_open",
        &[
            Need::Ebb,
            Need::Tun,
            Need::Tool("curl"),
            Need::Tool("nginx"),
        ],
        fast_open,
    ),
    Case::beside(
        "exact::ipv6_longer_than_64_kib",
        &[Need::Ebb, Need::BigTcp, Need::Tool("curl")],
        big_tcp,
    ),
];

/// TCP Fast Open (RFC 7413): the first packet of the handshake carries the request, and the server may answer before
/// the client's next packet. Linux creates the connection when the first packet arrives.
fn fast_open() {
    const CONNECTIONS: usize = 20;
    /// All requests: one per connection, and one that queries the server's count.
    const ALL: u64 = CONNECTIONS as u64 + 1;
    let namespace = NetNs::new();
    let allowed = namespace.inside(allow_fast_open);
    allowed.expect("root in this namespace");
    let totals = watched(
        |cgroup| {
            let place = ServerSite::at(cgroup, Ipv4Addr::LOCALHOST);
            namespace.inside(|| Nginx::start_with(place, "fastopen=16"))
        },
        |server, _| {
            let urls = vec![format!("http://{}/", server.address()); CONNECTIONS];
            namespace.inside(|| {
                // With `--tcp-fastopen`, curl opens a new connection for each request.
                let fetched = curl(&["--tcp-fastopen"], &urls);
                assert!(fetched.iter().all(|f| f.status == 200), "{fetched:?}");
                assert_eq!(server.requests(), ALL);
            });
        },
    );
    let opened = namespace.figure("netstat", "TcpExt", "TCPFastOpenPassive");
    assert_eq!(opened, CONNECTIONS as u64, "opened so");
    assert_eq!(totals.ends(), Ends::answered(ALL));
}

/// BIG TCP: IPv6 packets longer than 64 KiB. Their length is in an extension header, before the TCP header.
fn big_tcp() {
    const TIMES: usize = 10;
    let namespace = NetNs::new();
    namespace
        .big_tcp()
        .expect("BIG TCP works, as the check of `Need::BigTcp` has shown");
    let upload = tempfile::NamedTempFile::new().expect("a file");
    let set = upload.as_file().set_len(1_000_000);
    set.expect("1 MB of nothing");
    let data = format!("@{}", upload.path().display());
    let totals = watched(
        |cgroup| {
            let place = ServerSite::at(cgroup, Ipv6Addr::LOCALHOST);
            namespace.inside(|| Sample::start(place))
        },
        |server, _| {
            let url = format!("http://{}/?bytes=1000000", server.address());
            let urls = vec![url; TIMES];
            namespace.inside(|| {
                let fetched = curl(&["--data-binary", &data], &urls);
                assert!(fetched.iter().all(|f| f.status == 200), "{fetched:?}");
                assert_eq!(server.stats().requests, TIMES as u64);
            });
        },
    );
    note(format!(
        "BIG TCP: {} bytes per IPv6 packet on average, including packets without data",
        namespace.figure6("Ip6InOctets") / namespace.figure6("Ip6InReceives")
    ));
    assert_eq!(totals.ends(), Ends::answered(TIMES as u64 + 1));
}
