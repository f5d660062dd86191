//! RST_STREAM from either side, before or after the end of the stream: each stream ends exactly once.

use ebb_fixtures::Case;
use ebb_fixtures::h2::{H2, kind};
use ebb_fixtures::server::{Sample, Script, Service};
use ebb_fixtures::watch::{Ends, Watch};

use super::FRAMES;
use crate::exact::{EBB, watched};

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::reset_by_client_while_waiting", EBB, || {
        by_client("/?sleep=60000", |_| {});
    }),
    Case::beside("exact::http2::reset_by_client_in_an_answer", EBB, || {
        by_client("/?bytes=10000000&drip=100", |h2| {
            h2.until(|frame| frame.kind == kind::DATA);
        });
    }),
    Case::beside(
        "exact::http2::reset_by_client_in_an_upload",
        EBB,
        in_an_upload,
    ),
    Case::beside(
        "exact::http2::reset_by_client_after_the_end",
        EBB,
        after_the_end,
    ),
    Case::beside("exact::http2::reset_by_server_in_an_answer", FRAMES, || {
        by_server("/reset");
    }),
    Case::beside(
        "exact::http2::reset_by_server_before_an_answer",
        FRAMES,
        || {
            by_server("/refused");
        },
    ),
    Case::beside(
        "exact::http2::reset_by_server_after_the_end",
        FRAMES,
        by_server_after,
    ),
    Case::beside("exact::http2::rapid_resets", EBB, rapid),
];

const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Returns how many requests are expected to end in each way. A stream that was reset has no status, so it counts as
/// aborted. A stream that was answered before the reset counts as answered.
const fn ends(answered: u64, aborted: u64) -> Ends {
    Ends {
        answered,
        aborted,
        opaque: 0,
        excluded: 0,
    }
}

/// Asserts that the reset ended the request, and that the connection stays open and works.
#[track_caller]
fn goes_on(h2: &mut H2, watch: &mut Watch) {
    watch.until("ended by the reset", |_, line| {
        (line.in_flight, line.connections) == (0, 1)
    });
    let stream = h2.get("/");
    h2.answers(&[stream]);
}

fn by_client(path: &str, until: impl Fn(&mut H2)) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            for _ in 0..3 {
                let stream = h2.get(path);
                until(&mut h2);
                watch.until("in flight", |_, line| line.in_flight == 1);
                h2.send(kind::RST_STREAM, 0, stream, CANCEL);
                goes_on(&mut h2, watch);
            }
        },
    );
    assert_eq!(totals.ends(), ends(3, 3));
}

fn in_an_upload() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            let stream = h2.post("/");
            h2.send(kind::DATA, 0, stream, *b"some");
            watch.until("in flight", |_, line| line.in_flight == 1);
            h2.send(kind::RST_STREAM, 0, stream, CANCEL);
            goes_on(&mut h2, watch);
        },
    );
    assert_eq!(totals.ends(), ends(1, 1));
}

fn after_the_end() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            for _ in 0..5 {
                let stream = h2.get("/");
                h2.answers(&[stream]);
                h2.send(kind::RST_STREAM, 0, stream, CANCEL);
            }
            goes_on(&mut h2, watch);
        },
    );
    assert_eq!(totals.ends(), ends(6, 0));
}

fn by_server(path: &str) {
    let totals = watched(
        |cgroup| Service::start(Script::Frames, cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            for _ in 0..3 {
                let stream = h2.get(path);
                h2.until(|frame| frame.kind == kind::RST_STREAM && frame.stream == stream);
                goes_on(&mut h2, watch);
            }
            assert_eq!(server.requests(), 6);
        },
    );
    assert_eq!(totals.ends(), ends(3, 3));
}

fn by_server_after() {
    let totals = watched(
        |cgroup| Service::start(Script::Frames, cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            for _ in 0..5 {
                let stream = h2.get("/reset-after");
                h2.answers(&[stream]);
                h2.until(|frame| frame.kind == kind::RST_STREAM && frame.stream == stream);
            }
            goes_on(&mut h2, watch);
            assert_eq!(server.requests(), 6);
        },
    );
    assert_eq!(totals.ends(), ends(6, 0));
}

/// Opens a thousand streams and resets each immediately (rapid reset, CVE-2023-44487).
fn rapid() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut h2 = H2::connect(server.address());
            for _ in 0..1_000 {
                let stream = h2.get("/?sleep=60000");
                h2.send(kind::RST_STREAM, 0, stream, CANCEL);
            }
            goes_on(&mut h2, watch);
        },
    );
    assert_eq!(totals.ends(), ends(1, 1_000));
}
