//! Connections that end in the middle of a message.

use ebb_fixtures::server::{Nginx, Sample, Script, Scripted, Service, Setup, Then};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http1::client_leaves_in_a_response", EBB, leaves),
    Case::beside("exact::http1::client_resets_in_a_response", EBB, resets),
    Case::beside(
        "exact::http1::client_resets_while_waiting",
        EBB,
        resets_early,
    ),
    Case::beside(
        "exact::http1::half_closed_is_answered",
        &[Need::Ebb, Need::Tool("node")],
        half_closed,
    ),
    Case::beside(
        "exact::http1::server_killed_in_a_response",
        EBB,
        server_killed,
    ),
    Case::beside("exact::http1::half_a_head_and_silence", EBB, half_a_head),
    Case::beside("exact::http1::half_a_body_and_silence", EBB, half_a_body),
    Case::beside(
        "exact::http1::server_gives_up_on_half_a_head",
        &[Need::Ebb, Need::Tool("nginx")],
        timed_out,
    ),
    Case::beside(
        "exact::http1::server_cuts_its_own_response_short",
        &[Need::Ebb, Need::Tool("python3")],
        cut_short,
    ),
    Case::beside("exact::http1::pipeline_is_cut_off", EBB, || cut_off(7)),
    // The reset ends the first of the 1 025 requests, and then the other 1 024 together. The kernel programs must not
    // add these 1 024 ends to a counter in one step: a reader could not distinguish a step of 1 024 from no change (see
    // `PodCounters`).
    Case::beside("exact::http1::a_thousand_are_cut_off", EBB, || {
        cut_off(1025);
    }),
];

fn aborted(aborted: u64) -> Ends {
    Ends {
        aborted,
        ..Ends::default()
    }
}

/// The server sends 16 KiB every 100 ms, for a minute.
const LONG: &str = "/?bytes=10000000&drip=100";

/// Requests [`LONG`], waits for the first bytes of the response, and then calls `end`, which ends the response.
#[track_caller]
fn in_a_response(end: impl FnOnce(&Sample, Wire)) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.get(LONG, "");
            wire.header();
            wire.take(20_000);
            watch.until("in flight", |_, line| line.in_flight == 1);
            end(server, wire);
            watch.until("ended", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    assert_eq!(totals.ends(), aborted(1));
}

fn leaves() {
    in_a_response(|_, wire| drop(wire));
}

fn resets() {
    in_a_response(|_, wire| wire.reset());
}

fn server_killed() {
    in_a_response(|server, mut wire| {
        server.kill();
        wire.drain();
    });
}

fn resets_early() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.get("/?sleep=60000", "");
            watch.until("in flight", |_, line| line.in_flight == 1);
            wire.reset();
            watch.until("ended", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    assert_eq!(totals.ends(), aborted(1));
}

/// The client sends its FIN right after the request. The FIN does not end the response, which Node sends 800 ms later.
/// (nginx, hyper, and Node by default, treat such a FIN as the end of the client.)
fn half_closed() {
    let totals = watched(
        |cgroup| Service::start(Script::Node, cgroup),
        |node, watch| {
            let mut wire = Wire::connect(node.address());
            wire.get("/hints?n=0&ms=800", "");
            wire.finish_sending();
            watch.until(
                "the request is in flight for a whole interval after the FIN",
                |_, line| line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99,
            );
            assert!(wire.drain() > 6);
            assert_eq!(node.requests(), 1);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(1));
}

/// A request is in flight from its first byte until its client or its server closes the connection.
fn half_a_head() {
    waits_for_the_rest("GET / HTTP/1.1\r\nHost: te");
}

fn half_a_body() {
    waits_for_the_rest("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf");
}

#[track_caller]
fn waits_for_the_rest(half: &str) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.send(half);
            let line = watch.until("incomplete request in flight for an interval", |_, line| {
                line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99
            });
            assert_eq!(line.by_protocol(), [1, 0, 0, 0], "HTTP/1 so far");
            drop(wire);
            watch.until("ended", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    // When the client closes, the server may answer the incomplete request with 400 or 408. So the request ends as
    // aborted or as answered.
    let ends = totals.ends();
    assert_eq!(ends.aborted + ends.answered, 1, "{ends:?}");
    assert_eq!((ends.opaque, ends.excluded), (0, 0), "{ends:?}");
}

/// nginx closes the connection after the timeout, without a response.
fn timed_out() {
    let setup = Setup {
        server: "client_header_timeout 1s;",
        ..Setup::default()
    };
    let totals = watched(
        |cgroup| Nginx::set_up(cgroup, setup),
        |nginx: &Nginx, watch| {
            let mut wire = Wire::connect(nginx.address());
            wire.send("GET / HTTP/1.1\r\nHost: te");
            watch.until("in flight", |_, line| line.in_flight == 1);
            wire.drain();
            watch.until("ended", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    let ends = totals.ends();
    assert_eq!(ends.aborted + ends.answered, 1, "{ends:?}");
    assert_eq!((ends.opaque, ends.excluded), (0, 0), "{ends:?}");
}

/// The server sends its FIN before it has sent the announced length of the body.
fn cut_short() {
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort";
    let totals = watched(
        |cgroup| Scripted::start(cgroup, reply, Then::Close),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            wire.get("/", "");
            wire.drain();
        },
    );
    assert_eq!(totals.ends(), aborted(1));
}

/// Sends a pipeline of `3 + waiting` requests, reads three responses, and then resets the connection.
#[track_caller]
fn cut_off(waiting: usize) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.send("GET /?sleep=100 HTTP/1.1\r\nHost: test\r\n\r\n".repeat(3));
            wire.send("GET /?sleep=60000 HTTP/1.1\r\nHost: test\r\n\r\n".repeat(waiting));
            for _ in 0..3 {
                assert_eq!(wire.response(), 200);
            }
            watch.until("in flight", |_, line| line.in_flight == waiting as u64);
            wire.reset();
            watch.until("ended", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    let ends = Ends {
        answered: 3,
        aborted: waiting as u64,
        ..Ends::default()
    };
    assert_eq!(totals.ends(), ends);
}
