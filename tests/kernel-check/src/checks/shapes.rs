//! Requests and responses of every shape: each is counted once, and its end is found.

use ebb_fixtures::{
    Wire,
    server::{Sample, Scripted, Then},
};

use super::Check;
use crate::{
    Verdict,
    counted::{Count, CountedCgroup},
};

pub(super) const CHECKS: &[Check] = &[
    ("keep-alive: nothing in flight between requests", keep_alive),
    ("64 pipelined requests", pipelined),
    ("a head that comes byte by byte", byte_by_byte),
    ("a head of 16 KiB in 600 lines", large_head),
    ("chunked, each byte a packet, with trailers", chunked),
    ("a chunked request", chunked_request),
    ("a body of 10 MB, each way", large_body),
    ("HEAD, 204 and 304 have no body", bodiless),
    ("100 and 103 are no end", informational),
    ("a body that ends with the connection", close_delimited),
];

/// A complete response whose length is in its header section.
pub(super) const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn keep_alive() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    for _ in 0..20 {
        wire.get("/", "");
        assert_eq!(wire.response(), 200);
        let now = counted.now();
        assert_eq!((now.in_flight, now.connections), (0, 1));
    }
    drop(wire);
    as_the_server_says(&counted, &sample, 20);
    Ok(())
}

fn pipelined() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    wire.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(64));
    for _ in 0..64 {
        assert_eq!(wire.response(), 200);
    }
    drop(wire);
    as_the_server_says(&counted, &sample, 64);
    Ok(())
}

fn byte_by_byte() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    let head = "GET /?sleep=5 HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody";
    for (sent, byte) in head.bytes().enumerate() {
        wire.send([byte]);
        if sent == 0 {
            counted.until("the first byte begins a request", |now| now.in_flight == 1);
        }
    }
    assert_eq!(wire.response(), 200);
    drop(wire);
    as_the_server_says(&counted, &sample, 1);
    Ok(())
}

/// Sends header sections with more lines than one run of a program parses: tail calls continue the parsing.
fn large_head() -> Verdict {
    let counted = CountedCgroup::new()?;
    let server = Scripted::pieces(counted.cgroup(), Then::Keep, &[SIZED]);
    let mut wire = Wire::connect(server.address());
    let fields: String = (0..600)
        .map(|n| format!("X-Field-{n}: 0123456789\r\n"))
        .collect();
    for _ in 0..3 {
        wire.get("/", &fields);
        assert_eq!(wire.response(), 200);
    }
    drop(wire);
    assert_eq!(counted.at_rest(), Count::of(3));
    Ok(())
}

fn chunked() -> Verdict {
    let counted = CountedCgroup::new()?;
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    1\r\na\r\n0a;x=\"y\"\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\nTrailer: 1\r\n\r\n";
    let pieces: Vec<_> = response.split_inclusive(|_| true).collect();
    let server = Scripted::pieces(counted.cgroup(), Then::Keep, &pieces);
    let mut wire = Wire::connect(server.address());
    for _ in 0..3 {
        wire.get("/", "");
        assert_eq!(wire.take(response.len()), response.as_bytes());
        assert_eq!(counted.now().in_flight, 0);
    }
    drop(wire);
    assert_eq!(counted.at_rest(), Count::of(3));
    Ok(())
}

fn chunked_request() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    for _ in 0..3 {
        wire.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in [
            "1",
            "0\r",
            "\nGET / HTTP/1.1\r\n\r",
            "\n0",
            "\r\nT: 1\r\n",
            "\r\n",
        ] {
            wire.send(piece);
        }
        assert_eq!(wire.response(), 200);
    }
    drop(wire);
    as_the_server_says(&counted, &sample, 3);
    Ok(())
}

fn large_body() -> Verdict {
    const SIZE: usize = 10_000_000;
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    wire.get(&format!("/?bytes={SIZE}"), "");
    assert_eq!(wire.response_with_body().1.len(), SIZE);
    wire.send(format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    wire.send(
        b"GET / HTTP/1.1\r\n\r\n"
            .repeat(SIZE / 18 + 1)
            .split_at(SIZE)
            .0,
    );
    assert_eq!(wire.response(), 200);
    drop(wire);
    as_the_server_says(&counted, &sample, 2);
    Ok(())
}

/// Checks responses without a body. A parser that waited for a body would read the next response as this body.
fn bodiless() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let mut wire = Wire::connect(sample.address());
    for request in [
        "HEAD /?bytes=100000",
        "GET /?status=204&bytes=0",
        "GET /?status=304&bytes=4096",
    ] {
        wire.send(format!("{request} HTTP/1.1\r\nHost: test\r\n\r\n"));
        wire.header();
        assert_eq!(counted.now().in_flight, 0, "{request}");
    }
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    drop(wire);
    as_the_server_says(&counted, &sample, 4);
    Ok(())
}

fn informational() -> Verdict {
    let counted = CountedCgroup::new()?;
    let informational = "HTTP/1.1 100 Continue\r\n\r\n";
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let pieces = [informational, early, SIZED];
    let server = Scripted::pieces(counted.cgroup(), Then::Keep, &pieces);
    let mut wire = Wire::connect(server.address());
    for _ in 0..3 {
        wire.get("/", "");
        wire.take(pieces.concat().len());
    }
    drop(wire);
    assert_eq!(counted.at_rest(), Count::of(3));
    Ok(())
}

fn close_delimited() -> Verdict {
    let counted = CountedCgroup::new()?;
    let pieces = ["HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n", "\r\nmore"];
    let server = Scripted::pieces(counted.cgroup(), Then::Close, &pieces);
    for _ in 0..3 {
        let mut wire = Wire::connect(server.address());
        wire.get("/", "");
        assert_eq!(wire.drain(), pieces.concat().len());
    }
    assert_eq!(counted.at_rest(), Count::of(3));
    Ok(())
}

/// Waits until every connection is closed, then checks that Ebb's count and the server's count are both `requests`.
#[track_caller]
pub(super) fn as_the_server_says(counted: &CountedCgroup, sample: &Sample, requests: u64) {
    let count = counted.at_rest();
    assert_eq!(count, Count::of(requests), "{:?}", counted.events());
    // The query of the server's count is a request too, so the server is queried only after Ebb's counts have been
    // read.
    assert_eq!(
        count.started,
        sample.stats().requests,
        "the server's own count"
    );
}
