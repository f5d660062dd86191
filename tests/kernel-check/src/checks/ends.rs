//! Connections that end in the middle of a request, and bytes that are not HTTP.

use std::net::SocketAddr;

use ebb_fixtures::{
    Wire,
    net::allow_fast_open,
    server::{Scripted, Then},
};

use super::{Check, shapes::SIZED};
use crate::{
    MissingFeature, Verdict,
    counted::{Count, CountedCgroup},
};

pub(super) const CHECKS: &[Check] = &[
    ("a RST of the client in a response", client_resets),
    ("a RST of the server in a response", server_resets),
    ("a server that is killed", server_killed),
    ("half a request, and its close", half),
    ("a client that closes its half at once", half_close),
    ("bytes that are no HTTP", no_http),
    ("an upgraded connection", upgraded),
    ("a request with the last packet of a handshake", early),
    ("a request with the first packet of a handshake", fast_open),
];

fn client_resets() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    for _ in 0..5 {
        let mut wire = Wire::connect(sample.address());
        wire.get("/?bytes=100000&drip=20", "");
        wire.header();
        assert_eq!(counted.now().in_flight, 1);
        wire.reset();
        counted.until("the end", |now| now.in_flight == 0);
    }
    assert_eq!(counted.at_rest(), aborted(5));
    Ok(())
}

fn server_resets() -> Verdict {
    let counted = CountedCgroup::new()?;
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nthe first of them";
    let server = Scripted::pieces(counted.cgroup(), Then::Reset, &[part]);
    for _ in 0..5 {
        let mut wire = Wire::connect(server.address());
        wire.get("/", "");
        wire.drain();
    }
    assert_eq!(counted.at_rest(), aborted(5));
    Ok(())
}

fn server_killed() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wires: Vec<_> = (0..5).map(|_| Wire::connect(sample.address())).collect();
    for wire in &mut wires {
        wire.get("/?sleep=600000", "");
    }
    counted.until("all are in flight", |now| now.in_flight == 5);
    sample.kill();
    for wire in &mut wires {
        wire.drain();
    }
    drop(wires);
    assert_eq!(counted.at_rest(), aborted(5));
    Ok(())
}

fn half() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    wire.send("GET / HTTP/1.1\r\nHost: te");
    counted.until("half a request is in flight", |now| now.in_flight == 1);
    drop(wire);
    let count = counted.at_rest();
    assert_eq!((count.started, count.in_flight), (1, 0));
    assert_eq!(count.completed + count.aborted, 1);
    Ok(())
}

fn half_close() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    for _ in 0..5 {
        let mut wire = Wire::connect(sample.address());
        wire.send("GET /?sleep=20 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        wire.finish_sending();
        wire.drain();
    }
    let count = counted.at_rest();
    assert_eq!((count.started, count.in_flight), (5, 0));
    assert_eq!(count.started, sample.stats().requests);
    Ok(())
}

fn no_http() -> Verdict {
    let counted = CountedCgroup::new()?;
    let server = Scripted::pieces(counted.cgroup(), Then::Keep, &["hello"]);
    let mut wire = Wire::connect(server.address());
    // These are the first bytes that a TLS client sends. The connection must become opaque, and count as one request.
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on\r\n\r\n");
    wire.take(5);
    let opaque = counted.until("it is opaque", |now| now.opaque == 1);
    assert_eq!(opaque.in_flight, 1);
    drop(wire);
    let count = counted.at_rest();
    assert_eq!((count.started, count.in_flight, count.opaque), (1, 0, 0));
    Ok(())
}

fn upgraded() -> Verdict {
    let counted = CountedCgroup::new()?;
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    let server = Scripted::pieces(counted.cgroup(), Then::Keep, &[switch]);
    let mut wire = Wire::connect(server.address());
    wire.get("/", "Connection: upgrade\r\nUpgrade: echo\r\n");
    wire.take(switch.len());
    for _ in 0..3 {
        // These bytes look like requests, but are the payload of the upgraded connection, so they must not be counted.
        wire.get("/", "");
        wire.take(switch.len());
    }
    let count = counted.now();
    assert_eq!((count.started, count.in_flight, count.upgraded), (1, 1, 1));
    drop(wire);
    let count = counted.at_rest();
    assert_eq!((count.started, count.in_flight, count.upgraded), (1, 0, 0));
    Ok(())
}

/// With `TCP_DEFER_ACCEPT`, the first request arrives before the connection is established. Only the programs on the
/// listening socket see this packet.
fn early() -> Verdict {
    two_on_each(Then::Defer, Wire::connect)
}

/// With TCP Fast Open, the first packet of the handshake carries the first request.
fn fast_open() -> Verdict {
    allow_fast_open().map_err(|error| MissingFeature(format!("TCP Fast Open: {error}")))?;
    two_on_each(Then::FastOpen, Wire::connect_fast)
}

/// Opens ten connections and sends two requests on each. The first bytes of each connection arrive before it is
/// established.
fn two_on_each(then: Then, connect: fn(SocketAddr) -> Wire) -> Verdict {
    let counted = CountedCgroup::new()?;
    let server = Scripted::pieces(counted.cgroup(), then, &[SIZED]);
    for _ in 0..10 {
        let mut wire = connect(server.address());
        for _ in 0..2 {
            wire.get("/", "");
            assert_eq!(wire.response(), 200);
        }
    }
    assert_eq!(counted.at_rest(), Count::of(20));
    Ok(())
}

/// Returns the counts after `requests` requests that were all aborted with their connections; nothing is in flight.
pub(super) fn aborted(requests: u64) -> Count {
    Count {
        started: requests,
        aborted: requests,
        ..Count::default()
    }
}
