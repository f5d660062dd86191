//! A bad network: packets that are lost, duplicated or overtaken change no count.

use std::{net::SocketAddr, thread, time::Duration};

use ebb_fixtures::Wire;
use hyper::body::Bytes;
use tokio::task::JoinSet;

use super::{Check, shapes::as_the_server_says};
use crate::{
    MissingFeature, Verdict,
    counted::CountedCgroup,
    has_loops,
    http2::{Http2, block_on},
    netem::{Faults, Netem},
};

pub(super) const CHECKS: &[Check] = &[
    ("HTTP/1, 5 % of the packets lost", || http1(LOSS)),
    ("HTTP/2, 5 % of the packets lost", || http2(LOSS)),
    ("HTTP/1, 5 % of the packets doubled", || http1(DOUBLES)),
    ("HTTP/2, 5 % of the packets doubled", || http2(DOUBLES)),
    ("HTTP/1, 25 % of the packets overtake", || http1(HURRY)),
    ("HTTP/2, 25 % of the packets overtake", || http2(HURRY)),
    ("HTTP/1, all of these", || http1(ALL)),
    ("HTTP/2, all of these", || http2(ALL)),
];

/// A network without faults.
const NONE: Faults = Faults {
    lost: 0,
    doubled: 0,
    hurried: 0,
    delay: Duration::ZERO,
};
const LOSS: Faults = Faults { lost: 5, ..NONE };
const DOUBLES: Faults = Faults { doubled: 5, ..NONE };
const HURRY: Faults = Faults {
    hurried: 25,
    delay: Duration::from_millis(2),
    ..NONE
};
const ALL: Faults = Faults {
    lost: 2,
    doubled: 2,
    ..HURRY
};

/// The number of concurrent connections, and the number of requests on each connection: enough for about a hundred
/// faults in a few seconds.
const CONNECTIONS: u64 = 5;
const REQUESTS: u64 = 20;

fn http1(faults: Faults) -> Verdict {
    under(faults, over_http1)
}

fn http2(faults: Faults) -> Verdict {
    under(faults, |address| block_on(over_http2(address)))
}

fn under(faults: Faults, client: fn(SocketAddr)) -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let address = sample.address();
    let before = counted.events();
    let netem = Netem::with(faults)?;
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(move || client(address));
        }
    });
    drop(netem);
    let opaque = counted.events().unreadable - before.unreadable;
    if opaque > 0 && !has_loops() {
        let count = counted.at_rest();
        assert!(count.started < CONNECTIONS * REQUESTS, "{count:?}");
        assert_eq!((count.completed, count.in_flight), (count.started, 0));
        return Err(MissingFeature(format!(
            "bpf_loop (Linux 5.17): without it, {opaque} of {CONNECTIONS} connections became opaque"
        )));
    }
    as_the_server_says(&counted, &sample, CONNECTIONS * REQUESTS);
    Ok(())
}

fn over_http1(address: SocketAddr) {
    let mut wire = Wire::connect(address);
    for request in 0..REQUESTS {
        // Sends the header section in pieces, and then a body. Response bodies have a length or are chunked, in turn.
        // So lost packets leave gaps at every position.
        let chunked = request % 2;
        wire.send(format!(
            "POST /?bytes=3000&chunked={chunked} HTTP/1.1\r\nHo"
        ));
        wire.send("st: test\r\nContent-Length: 2000\r\n");
        wire.send("X-Field: value\r\n\r\n");
        wire.send("GET / HTTP/1.1\r\n\r\n".repeat(112).split_at(2000).0);
        if chunked == 1 {
            wire.header();
            wire.to_end();
        } else {
            assert_eq!(wire.response(), 200);
        }
    }
}

/// Sends the requests on several streams concurrently, so that an overtaking packet belongs to another stream than the
/// overtaken one.
async fn over_http2(address: SocketAddr) {
    const STREAMS: u64 = 4;
    let client = Http2::connect(address).await;
    let body = [Bytes::from(vec![b'x'; 1000]), Bytes::from(vec![b'y'; 1000])];
    for _ in 0..REQUESTS / STREAMS {
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            let (client, body) = (client.clone(), body.clone());
            streams.spawn(async move { client.fetch("/?bytes=3000", &body).await });
        }
        let lengths = streams.join_all().await;
        assert!(lengths.iter().all(|length| *length == 3000));
    }
}
