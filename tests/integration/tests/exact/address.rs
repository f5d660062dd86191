//! Servers that listen on IPv4, on IPv6, and on an IPv6 socket that also accepts IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ebb_fixtures::Case;
use ebb_fixtures::server::{Sample, ServerSite};
use ebb_fixtures::watch::Ends;

use super::{CURL, watched};
use ebb_fixtures::client::curl;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::ipv6", CURL, || {
        served(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST.into());
    }),
    Case::beside("exact::ipv4_mapped", CURL, || {
        served(Ipv6Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST.into());
    }),
    Case::beside("exact::any_ipv4_address", CURL, || {
        served(Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(127, 1, 2, 3).into());
    }),
];

/// Sends requests from address `from` to a server that listens on `at`, and checks the count.
fn served(at: impl Into<IpAddr>, from: IpAddr) {
    let at = at.into();
    let totals = watched(
        |cgroup| Sample::start(ServerSite::at(cgroup, at)),
        |server, _| {
            let url = format!("http://{}/", SocketAddr::new(from, server.address().port()));
            let fetched = curl(&[], &[&url, &url]);
            assert!(fetched.iter().all(|f| f.status == 200), "{fetched:?}");
            assert_eq!(server.stats().requests, 2);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3));
}
