//! HTTP/2: each stream counts as one request in flight.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::{task::JoinSet, time::sleep};

use super::{Check, ends::aborted, shapes::as_the_server_says};
use crate::{
    Verdict,
    counted::CountedCgroup,
    http2::{Http2, block_on},
};

pub(super) const CHECKS: &[Check] = &[
    ("HTTP/2: nothing in flight between requests", idle),
    ("HTTP/2: 50 streams at once, on 3 connections", many),
    ("HTTP/2: bodies, each way", bodies),
    ("HTTP/2: each byte a packet", byte_by_byte),
    ("HTTP/2: RST_STREAM in a response", reset),
    ("HTTP/2: a connection that ends with streams open", cut),
];

/// Pause between two readings of the counts while the streams run.
const PAUSE: Duration = Duration::from_millis(5);

fn idle() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    block_on(async {
        let client = Http2::connect(sample.address()).await;
        for _ in 0..20 {
            client.fetch("/", &[]).await;
            let now = counted.now();
            assert_eq!((now.in_flight, now.http2, now.connections), (0, 0, 1));
        }
    });
    as_the_server_says(&counted, &sample, 20);
    Ok(())
}

fn many() -> Verdict {
    const STREAMS: u64 = 50;
    const CONNECTIONS: u64 = 3;
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    block_on(async {
        let mut streams = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let client = Http2::connect(sample.address()).await;
            for _ in 0..STREAMS {
                let client = client.clone();
                // The sleep of 2 s is long enough for all streams to begin, even on a slow machine.
                streams.spawn(async move { client.fetch("/?sleep=2000&bytes=20000", &[]).await });
            }
        }
        let all = CONNECTIONS * STREAMS;
        // This loop has no time limit; `block_on` limits the time of the whole exchange.
        while counted.now().http2 < all {
            sleep(PAUSE).await;
        }
        let now = counted.now();
        assert_eq!((now.in_flight, now.http2), (all, all));
        let lengths = streams.join_all().await;
        assert!(lengths.iter().all(|length| *length == 20_000));
    });
    as_the_server_says(&counted, &sample, CONNECTIONS * STREAMS);
    Ok(())
}

fn bodies() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    // These bytes look like HTTP/2 frames and HTTP/1 requests, but are the body of a request, so they must not be
    // counted.
    let piece = Bytes::from(b"\0\0\0\x01\x25\0\0\0\x01GET / HTTP/1.1\r\n\r\n".repeat(500));
    block_on(async {
        let client = Http2::connect(sample.address()).await;
        for _ in 0..5 {
            let pieces = vec![piece.clone(); 20];
            assert_eq!(client.fetch("/?bytes=300000", &pieces).await, 300_000);
        }
    });
    as_the_server_says(&counted, &sample, 5);
    Ok(())
}

fn byte_by_byte() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    block_on(async {
        let client = Http2::connect_by_bytes(sample.address()).await;
        for _ in 0..5 {
            let pieces = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
            client.fetch("/", &pieces).await;
        }
    });
    as_the_server_says(&counted, &sample, 5);
    Ok(())
}

fn reset() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    block_on(async {
        let client = Http2::connect(sample.address()).await;
        for _ in 0..5 {
            let begun = client.begin("/?bytes=1000000&drip=50", &[]).await;
            assert_eq!(counted.now().http2, 1);
            let mut body = begun.into_body();
            // The client drops the response before its end, so it cancels the stream (RST_STREAM).
            drop(body.data().await);
            drop(body);
            // The connection must stay open after the reset: this request on the same connection must succeed.
            client.fetch("/", &[]).await;
            counted.until("the stream has ended", |now| now.http2 == 0);
        }
    });
    let count = counted.at_rest();
    assert_eq!((count.started, count.completed, count.aborted), (10, 5, 5));
    assert_eq!((count.in_flight, count.http2), (0, 0));
    Ok(())
}

fn cut() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    block_on(async {
        let client = Http2::connect(sample.address()).await;
        let mut open = Vec::new();
        for _ in 0..10 {
            open.push(client.begin("/?bytes=1000000&drip=50", &[]).await);
        }
        assert_eq!(counted.now().http2, 10);
    });
    assert_eq!(counted.at_rest(), aborted(10));
    Ok(())
}
