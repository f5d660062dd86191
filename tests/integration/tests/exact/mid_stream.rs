//! Connections that are attached mid-stream: the counter counts them from their next request on.

use ebb_fixtures::h2::{Frame, H2, flag, kind};
use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Need, TestCgroup, Wire};

use super::INTERVAL;

const NEEDS: &[Need] = &[Need::Ebb];

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::mid_stream_between_requests",
        NEEDS,
        between_requests,
    ),
    Case::beside(
        "exact::mid_stream_while_a_request_waits",
        NEEDS,
        while_waiting,
    ),
    Case::beside("exact::mid_stream_in_a_download", NEEDS, in_a_download),
    Case::beside("exact::mid_stream_in_an_upload", NEEDS, in_an_upload),
    Case::beside("exact::mid_stream_in_a_head", NEEDS, in_a_head),
    Case::beside(
        "exact::mid_stream_http2_between_requests",
        NEEDS,
        http2_idle,
    ),
    Case::beside(
        "exact::mid_stream_http2_with_streams_open",
        NEEDS,
        http2_busy,
    ),
    Case::beside(
        "exact::mid_stream_http2_in_an_upload",
        NEEDS,
        http2_in_an_upload,
    ),
    Case::beside(
        "exact::mid_stream_http2_without_a_new_stream",
        NEEDS,
        http2_without_a_new_stream,
    ),
];

/// Starts a server, uses one connection to it (`first`), and only then starts `ebb watch`.
///
/// The client's receive buffer is small, so a download lasts until the test reads it.
fn attached_mid_stream(
    first: impl FnOnce(&Sample, &mut Wire),
) -> (TestCgroup, Sample, Wire, Watch) {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut wire = Wire::connect_narrow(server.address(), 4_096);
    wire.get("/", "");
    assert_eq!(wire.response(), 200);
    first(&server, &mut wire);
    let watch = Watch::start(&cgroup, INTERVAL, &[]);
    (cgroup, server, wire, watch)
}

/// Sends three more requests and reads their responses.
fn three(wire: &mut Wire) {
    for _ in 0..3 {
        wire.get("/?sleep=20", "");
        assert_eq!(wire.response(), 200);
    }
}

/// The counter was attached in the middle of a message, and cannot know where this message ends. So either it counts
/// the three requests that follow, or the connection is opaque.
#[track_caller]
fn three_or_opaque(watch: &mut Watch) {
    let totals = watch.settle();
    let Ends {
        answered,
        aborted,
        opaque,
        excluded,
    } = totals.ends();
    assert!(
        (answered == 3 && opaque == 0) || (answered <= 3 && opaque == 1),
        "{totals:?}"
    );
    assert_eq!((aborted, excluded), (0, 0), "{totals:?}");
}

fn between_requests() {
    let (_cgroup, _server, mut wire, mut watch) = attached_mid_stream(|_, _| {});
    three(&mut wire);
    let totals = watch.settle();
    assert_eq!(totals.ends(), Ends::answered(3));
    assert!(totals.integral > 0.06, "{totals:?}");
    // After the connection is closed, none of its requests is counted as in flight, and no counter has fallen below
    // zero.
    drop(wire);
    let line = watch.until("closed", |_, line| line.connections == 0);
    assert_eq!(line.in_flight, 0);
}

/// The client sends a request before the watch starts, and the server answers it afterwards. This request is not
/// counted.
fn while_waiting() {
    let (_cgroup, server, mut wire, mut watch) = attached_mid_stream(|server, wire| {
        server.pause();
        wire.get("/", "");
    });
    server.resume();
    assert_eq!(wire.response(), 200);
    three(&mut wire);
    assert_eq!(watch.settle().ends(), Ends::answered(3));
}

fn in_a_download() {
    let (_cgroup, server, mut wire, mut watch) = attached_mid_stream(|_, wire| {
        // The response is larger than the server's send buffer, so the download is still in progress when the watch
        // starts.
        wire.get("/?bytes=8000000", "");
    });
    assert_eq!(server.stats().in_flight, 1, "still at it");
    assert_eq!(wire.response(), 200);
    three(&mut wire);
    assert_eq!(
        watch.settle().ends(),
        Ends::answered(4),
        "and one that asks"
    );
}

/// The header section of an upload is sent before the watch starts, and most of the body afterwards. Some bytes of the
/// body could be the start of a request.
fn in_an_upload() {
    let (_cgroup, _server, mut wire, mut watch) = attached_mid_stream(|_, wire| {
        wire.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n");
        wire.send([b'x'; 1_000]);
    });
    wire.send([b'x'; 10_000]);
    wire.send([b'\n'; 9_000]);
    assert_eq!(wire.response(), 200);
    three(&mut wire);
    drop(wire);
    three_or_opaque(&mut watch);
}

/// Half of a header section is sent before the watch starts, and half afterwards. The counter cannot parse this
/// request. The next three requests are counted, or the connection is opaque.
fn in_a_head() {
    let (_cgroup, _server, mut wire, mut watch) = attached_mid_stream(|_, wire| {
        wire.send("GET / HTTP/1.1\r\nHost: te");
    });
    wire.send("st\r\nX-A: b\r\n\r\n");
    assert_eq!(wire.response(), 200);
    three(&mut wire);
    drop(wire);
    three_or_opaque(&mut watch);
}

/// Sends ten streams on an HTTP/2 connection that was open before the watch starts. The function `first` begins other
/// streams before the watch starts. They may still be in flight. All ten streams are counted. Until the first of them
/// begins, the connection may be opaque, but at most `opaque` times.
fn http2_mid_stream(opaque: u64, first: impl FnOnce(&mut H2) -> Vec<u32>) {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut h2 = H2::connect(server.address());
    let stream = h2.get("/");
    h2.answers(&[stream]);
    let open = first(&mut h2);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    h2.answers(&open);
    let streams: Vec<_> = (0..10).map(|_| h2.get("/?sleep=100")).collect();
    h2.answers(&streams);
    let ends = watch.settle().ends();
    assert!(ends.opaque <= opaque, "{ends:?}");
    let expected = Ends {
        answered: 10,
        opaque: ends.opaque,
        ..Ends::default()
    };
    assert_eq!(ends, expected);
    drop(h2);
    let line = watch.until("closed", |_, line| line.connections == 0);
    assert_eq!(line.in_flight, 0);
}

fn http2_idle() {
    http2_mid_stream(0, |_| Vec::new());
}

/// After the watch starts, the client may first send frames that allow the server to send more data. These frames begin
/// no stream.
fn http2_busy() {
    http2_mid_stream(1, |h2| (0..5).map(|_| h2.get("/?bytes=8000000")).collect());
}

/// A stream that was open before the watch starts, and no new one: the connection counts as one request in flight, and
/// is opaque, until it closes.
fn http2_without_a_new_stream() {
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut h2 = H2::connect(server.address());
    let open = h2.get("/?bytes=8000000");
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    h2.answers(&[open]);
    let line = watch.until("opaque", |_, line| {
        line.in_flight_by_protocol["opaque"] == 1
    });
    assert_eq!(line.in_flight, 1);
    drop(h2);
    let ends = watch.settle().ends();
    let expected = Ends {
        opaque: 1,
        ..Ends::default()
    };
    assert_eq!(ends, expected);
}

/// An upload that was open before the watch starts. Some of its segments begin in the middle of a frame, while the
/// server sends frames, too. The connection counts once, as opaque. A stream that begins later is counted.
fn http2_in_an_upload() {
    const HALF: usize = 4_000;
    let cgroup = TestCgroup::new();
    let server = Sample::start(&cgroup);
    let mut h2 = H2::connect(server.address());
    let upload = h2.post("/");
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);
    let data = Frame::new(kind::DATA, 0, upload, vec![b'x'; 2 * HALF]).bytes();
    let ping = Frame::new(kind::PING, 0, 0, [0; 8]).bytes();
    for _ in 0..6 {
        h2.wire.send(&data[..HALF]);
        h2.wire.send([&data[HALF..], &ping].concat());
        h2.until(|frame| frame.kind == kind::PING);
    }
    let line = watch.until("opaque", |_, line| {
        line.in_flight_by_protocol["opaque"] == 1
    });
    assert_eq!(line.in_flight, 1);
    h2.send(kind::DATA, flag::END_STREAM, upload, []);
    h2.answers(&[upload]);
    let stream = h2.get("/");
    h2.answers(&[stream]);
    let ends = watch.settle().ends();
    let expected = Ends {
        opaque: 1,
        ..Ends::answered(1)
    };
    assert_eq!(ends, expected);
    drop(h2);
    let line = watch.until("closed", |_, line| line.connections == 0);
    assert_eq!(line.in_flight, 0);
}
