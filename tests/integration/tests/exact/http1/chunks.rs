//! Chunked bodies, in both directions, in the smallest possible pieces.

use ebb_fixtures::client::curl;
use ebb_fixtures::server::{Reply, Sample, Script, Scripted, Service, Then};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

const NODE: &[Need] = &[Need::Ebb, Need::Tool("node"), Need::Tool("curl")];
const SCRIPTED: &[Need] = &[Need::Ebb, Need::Tool("python3"), Need::Tool("curl")];

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::http1::chunks_of_one_byte_from_node",
        NODE,
        from_node,
    ),
    Case::beside(
        "exact::http1::ten_thousand_chunks_in_one_write",
        SCRIPTED,
        one_write,
    ),
    Case::beside(
        "exact::http1::chunks_of_one_byte_to_a_server",
        EBB,
        to_server,
    ),
    Case::beside(
        "exact::http1::chunked_response_in_packets_of_one_byte",
        SCRIPTED,
        packets_of_one_byte,
    ),
    Case::beside(
        "exact::http1::chunk_heads_split_over_packets",
        EBB,
        split_heads,
    ),
    Case::beside("exact::http1::trailers_from_node", NODE, trailers_from_node),
    Case::beside(
        "exact::http1::trailers_to_a_server",
        EBB,
        trailers_to_server,
    ),
];

fn from_node() {
    let totals = watched(
        |cgroup| Service::start(Script::Node, cgroup),
        |node, _| {
            let url = format!("http://{}/ones?n=2000", node.address());
            let fetched = curl(&[], &[&url, &url, &url]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 2_000)));
            assert_eq!(fetched[2].connects, 0, "on one connection");
            assert_eq!(node.requests(), 3);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3));
}

/// Returns a body of 10 000 one-byte chunks. They fill the largest packets, because the kernel passes up to 64 KiB to
/// the network as one packet.
fn many_chunks() -> String {
    format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(10_000))
}

fn one_write() {
    let reply = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        many_chunks()
    );
    let totals = watched(
        |cgroup| Scripted::start(cgroup, &reply, Then::Keep),
        |server, _| {
            let url = format!("http://{}/", server.address());
            let fetched = curl(&[], &[&url, &url]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 10_000)));
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2));
}

const CHUNKED_POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";

fn to_server() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            wire.send(CHUNKED_POST.to_owned() + &many_chunks());
            assert_eq!(wire.response(), 200);
            // Sends the same chunked body with one chunk per packet.
            wire.send(CHUNKED_POST);
            for _ in 0..500 {
                wire.send("1\r\nx\r\n");
            }
            wire.send("0\r\n\r\n");
            assert_eq!(wire.response(), 200);
            assert_eq!(server.stats().requests, 2);
        },
    );
    // Ebb counts the two POST requests, and the request with which the test queries the server's count.
    assert_eq!(totals.ends(), Ends::answered(3));
}

fn packets_of_one_byte() {
    let body = "5\r\nhello\r\n000A;name=\"va;lue\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
    let reply = Reply {
        piece: 1,
        ..Reply::new(format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n{body}"
        ))
    };
    let totals = watched(
        |cgroup| Scripted::replies(cgroup, "", std::slice::from_ref(&reply)),
        |server, _| {
            let url = format!("http://{}/", server.address());
            let fetched = curl(&[], &[&url, &url, &url]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 15)));
            assert_eq!(fetched[2].connects, 0, "on one connection");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(3));
}

/// Cuts a chunked request in two at each position in turn, all on one connection.
fn split_heads() {
    let body = "3\r\nabc\r\nB;x=y\r\nhello world\r\n0\r\nX-Sum: 1\r\n\r\n";
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for place in 1..body.len() {
                wire.send(CHUNKED_POST.to_owned() + &body[..place]);
                wire.send(&body[place..]);
                assert_eq!(wire.response(), 200);
            }
            assert_eq!(server.stats().requests, body.len() as u64 - 1);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(body.len() as u64));
}

fn trailers_from_node() {
    let totals = watched(
        |cgroup| Service::start(Script::Node, cgroup),
        |node, _| {
            let url = format!("http://{}/trailers", node.address());
            let fetched = curl(&[], &[&url, &url]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 4)));
            assert_eq!(node.requests(), 2);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2));
}

/// Sends trailers that would end, lengthen or begin a message if the parser did not read them as trailers.
fn trailers_to_server() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for trailers in [
                "Content-Length: 1000\r\n",
                "Transfer-Encoding: chunked\r\nX-A: 1\r\n",
                "User-Agent: kube-probe/1.30\r\n",
            ] {
                wire.send(format!("{CHUNKED_POST}3\r\nabc\r\n0\r\n{trailers}\r\n"));
                assert_eq!(wire.response(), 200);
            }
            assert_eq!(server.stats().requests, 3);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(4));
}
