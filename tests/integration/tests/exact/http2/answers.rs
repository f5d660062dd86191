//! Every kind of response that a server may send: the test chooses the response by the path of its request.

use ebb_fixtures::h2::{H2, flag, kind};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need};

use super::{FRAMES, all_answered_by_h2};
use crate::exact::watched;
use ebb_fixtures::server::{Script, Service};

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::plain_answers", FRAMES, || same("/", 20)),
    Case::beside("exact::http2::answers_without_a_body", FRAMES, || {
        same("/nothing", 20);
    }),
    Case::beside("exact::http2::end_in_an_empty_frame", FRAMES, || {
        same("/empty-end", 20);
    }),
    Case::beside("exact::http2::continuation_of_an_answer", FRAMES, || {
        same("/large-head?n=40000", 5);
    }),
    Case::beside("exact::http2::padded_answers", FRAMES, || {
        same("/padded?n=200", 20);
    }),
    Case::beside("exact::http2::trailers_of_an_answer", FRAMES, || {
        same("/trailers", 20);
    }),
    Case::beside("exact::http2::interim_answers", FRAMES, || {
        same("/interim?n=3", 20);
    }),
    Case::beside("exact::http2::answers_in_turns", FRAMES, in_turns),
    Case::beside(
        "exact::http2::pushed_streams_are_no_requests",
        FRAMES,
        || {
            same("/push", 5);
        },
    ),
    Case::beside(
        "exact::http2::answer_before_the_request_ends",
        FRAMES,
        early,
    ),
    Case::beside("exact::http2::goaway_lets_streams_finish", FRAMES, goaway),
    Case::beside(
        "exact::http2::goaway_from_a_client",
        &[Need::Ebb, Need::Tool("node")],
        client_goaway,
    ),
    Case::beside(
        "exact::http2::connection_lost_with_streams_open",
        FRAMES,
        lost,
    ),
];

/// Sends `requests` requests for the same path: the first half one after the other, the second half concurrently.
fn same(path: &str, requests: u64) {
    all_answered_by_h2(requests, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..requests / 2 {
            let stream = h2.get(path);
            h2.answers(&[stream]);
        }
        let streams: Vec<_> = (requests / 2..requests).map(|_| h2.get(path)).collect();
        h2.answers(&streams);
    });
}

/// The server interleaves ten responses: it sends one frame of each response in turn.
fn in_turns() {
    all_answered_by_h2(20, |server, _| {
        let mut h2 = H2::connect(server.address());
        for _ in 0..2 {
            let streams: Vec<_> = (0..10).map(|_| h2.get("/in-turns?n=10")).collect();
            h2.answers(&streams);
        }
    });
}

/// A request ends with the end of its response, even if the client still sends the request's body.
fn early() {
    all_answered_by_h2(3, |server, watch| {
        let mut h2 = H2::connect(server.address());
        for ended in 1..=3 {
            let stream = h2.post("/early");
            h2.answers(&[stream]);
            watch.until("ended by its answer", |totals, line| {
                (totals.completed, line.in_flight) == (ended, 0)
            });
            h2.send(kind::DATA, 0, stream, *b"late");
            if ended < 3 {
                h2.send(kind::DATA, flag::END_STREAM, stream, []);
            } else {
                h2.send(kind::RST_STREAM, 0, stream, [0; 4]);
            }
        }
    });
}

fn goaway() {
    all_answered_by_h2(2, |server, watch| {
        let mut h2 = H2::connect(server.address());
        let first = h2.get("/");
        h2.answers(&[first]);
        let stream = h2.get("/goaway");
        h2.until(|frame| frame.kind == kind::GOAWAY);
        h2.answers(&[stream]);
        drop(h2);
        watch.until("closed", |_, line| line.connections == 0);
    });
}

/// After its GOAWAY, the client opens no more streams; the server must still answer the open streams.
fn client_goaway() {
    let totals = watched(
        |cgroup| Service::start(Script::Node2, cgroup),
        |server, _| {
            let mut h2 = H2::connect(server.address());
            let streams: Vec<_> = (0..4).map(|_| h2.get("/hints?n=0&ms=300")).collect();
            h2.send(kind::GOAWAY, 0, 0, [0; 8]);
            h2.answers(&streams);
            assert_eq!(server.requests(), 4);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(4));
}

/// The client closes the connection while three streams wait for a response. The server answers requests for their path
/// only in groups of four, so it has answered none of the three. It has answered a stream for another path.
fn lost() {
    let totals = watched(
        |cgroup| Service::start(Script::Frames, cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            for _ in 0..3 {
                h2.get("/in-turns?n=4");
            }
            let answered = h2.get("/");
            h2.answers(&[answered]);
            let line = watch.until("three in flight", |_, line| line.in_flight == 3);
            assert_eq!(line.by_protocol(), [0, 3, 0, 0]);
            drop(h2);
            watch.until("none", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    let ends = Ends {
        answered: 1,
        aborted: 3,
        ..Ends::default()
    };
    assert_eq!(totals.ends(), ends);
}
