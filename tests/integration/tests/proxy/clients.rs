//! Third-party clients in front of the activator, and third-party servers behind it.

use ebb_fixtures::client::{Client, curl};
use ebb_fixtures::proxy::TestProxy;
use ebb_fixtures::server::{Nghttpd, Sample, Script, Service};
use ebb_fixtures::{Case, Need, TestCgroup, full};

const GRPC: &[Need] = &[Need::Cgroup, Need::Python("grpc")];

pub(super) const CASES: &[Case] = &[
    Case::new(
        "proxy::hey_wrk_and_curl",
        &[
            Need::Cgroup,
            Need::Tool("hey"),
            Need::Tool("wrk"),
            Need::Tool("curl"),
        ],
        http1,
    ),
    Case::new(
        "proxy::h2load_and_nghttp_before_http1_and_http2",
        &[
            Need::Cgroup,
            Need::Tool("h2load"),
            Need::Tool("nghttp"),
            Need::Tool("nghttpd"),
        ],
        http2,
    ),
    Case::beside("proxy::grpc_call", GRPC, || grpc("Unary", 0.0)),
    Case::beside("proxy::grpc_server_stream", GRPC, || {
        grpc("Server", seconds())
    }),
    Case::beside("proxy::grpc_client_stream", GRPC, || {
        grpc("Client", seconds())
    }),
    Case::beside("proxy::grpc_stream_both_ways", GRPC, || {
        grpc("Both", seconds())
    }),
    Case::beside(
        "proxy::websocket_echo",
        &[Need::Cgroup, Need::Python("websockets")],
        websocket,
    ),
    Case::beside(
        "proxy::node_trailers_and_hints",
        &[Need::Cgroup, Need::Tool("node"), Need::Tool("curl")],
        trailers,
    ),
];

/// Returns the duration of a stream: the promised 60 s in full runs, otherwise 2 s.
fn seconds() -> f64 {
    if full() { 60.0 } else { 2.0 }
}

fn http1() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let proxy = TestProxy::of(sample.address(), &[]);
    let to = proxy.address();
    let answers = Client::hey_requests(to, "/", 5_000, 50).finish_hey();
    answers.assert_all_ok();
    assert_eq!(answers.ok(), 5_000);
    let report = Client::start("wrk", &["-t1", "-c50", "-d2s", &format!("http://{to}/")]).finish();
    assert!(report.contains("Requests/sec:"), "{report}");
    assert!(
        !report.contains("Socket errors") && !report.contains("Non-2xx"),
        "{report}"
    );
    let url = format!("http://{to}/?bytes=1000");
    // curl of Debian 12 cannot send a second request on a cleartext HTTP/2 connection to any server. So curl fetches
    // only one URL over HTTP/2.
    for (options, urls) in [
        (&["--http1.1"][..], 2),
        (&["--http1.0"], 2),
        (&["--http2-prior-knowledge"], 1),
    ] {
        let fetched = curl(options, &vec![&url; urls]);
        assert!(
            fetched
                .iter()
                .all(|one| (one.status, one.bytes) == (200, 1000)),
            "{options:?}: {fetched:?}"
        );
    }
    let head = Client::start("curl", &["-sI", &url]).finish();
    assert!(head.contains("200") && head.contains("1000"), "{head}");
    let chunked = curl(&[], &[format!("{url}&chunked=1")]);
    assert_eq!((chunked[0].status, chunked[0].bytes), (200, 1000));
    // curl waits for `100 Continue` before it sends the body. The verbose output must show that curl received it.
    let upload = Client::start(
        "curl",
        &[
            "-s",
            "--stderr",
            "-",
            "-v",
            "-H",
            "Expect: 100-continue",
            "-d",
            "body",
            &url,
        ],
    )
    .finish();
    assert!(upload.contains("HTTP/1.1 100 Continue"), "{upload}");
    assert!(upload.contains("HTTP/1.1 200 OK"), "{upload}");
}

fn http2() {
    let cgroup = TestCgroup::new();
    let nghttpd = Nghttpd::start(&cgroup);
    let sample = Sample::start(&cgroup);
    // nghttpd supports only HTTP/2.
    for (server, path, http1) in [
        (nghttpd.address(), "/page.html", false),
        (sample.address(), "/", true),
    ] {
        let mut proxy = TestProxy::of(server, &[]);
        let url = format!("http://{}{path}", proxy.address());
        let report =
            Client::start("h2load", &["-n", "5000", "-c", "10", "-m", "50", &url]).finish();
        assert!(
            report.contains("5000 total, 5000 started, 5000 done, 5000 succeeded, 0 failed"),
            "{report}"
        );
        if http1 {
            let arguments = ["--h1", "-n", "1000", "-c", "10", &url];
            let report = Client::start("h2load", &arguments).finish();
            assert!(report.contains("1000 succeeded, 0 failed"), "{report}");
        }
        let headers = Client::start("nghttp", &["-nv", &url]).finish();
        assert!(headers.contains(":status: 200"), "{headers}");
        assert!(proxy.state().answered > 5_000);
    }
}

fn grpc(kind: &str, seconds: f64) {
    let cgroup = TestCgroup::new();
    let server = Service::start(Script::Grpc, &cgroup);
    let proxy = TestProxy::of(server.address(), &[]);
    let arguments = [&proxy.address().to_string(), kind, &seconds.to_string()];
    let client = include_str!("../exact/http2/grpc_client.py");
    let report = Client::python("grpc", client, &arguments).finish();
    let took: f64 = report
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("the call failed: {report:?}"));
    assert!(took >= seconds, "{took} s");
    assert_eq!(server.requests(), 1);
}

fn websocket() {
    let cgroup = TestCgroup::new();
    let server = Service::start(Script::Echo, &cgroup);
    let proxy = TestProxy::of(server.address(), &[]);
    let arguments = [
        &format!("ws://{}/", proxy.address()),
        &seconds().to_string()[..],
    ];
    let report = Client::python("websockets", ECHO, &arguments).finish();
    let echoed: u64 = report
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("it failed: {report:?}"));
    assert!(echoed >= 10, "{echoed} messages came back");
    assert_eq!(server.requests(), 1);
}

/// Python script: sends a different message every 50 ms for a given time, and prints how many messages the server
/// echoed.
const ECHO: &str = r#"
import asyncio, sys, time
import websockets

async def main():
    ends, count = time.monotonic() + float(sys.argv[2]), 0
    async with websockets.connect(sys.argv[1]) as socket:
        while time.monotonic() < ends:
            text = f"message {count} " + "x" * (count % 3000)
            await socket.send(text)
            assert await socket.recv() == text
            count += 1
            await asyncio.sleep(0.05)
    print(count)

asyncio.run(main())
"#;

fn trailers() {
    let cgroup = TestCgroup::new();
    let server = Service::start(Script::Node, &cgroup);
    let proxy = TestProxy::of(server.address(), &[]);
    let url = format!("http://{}/trailers", proxy.address());
    let report = Client::start(
        "curl",
        &["-si", "-H", "TE: trailers", "-H", "Connection: TE", &url],
    );
    let report = report.finish().to_ascii_lowercase();
    assert!(report.contains("x-sum: 1"), "{report}");
    // The server sends three 103 (Early Hints) responses first; the activator must not take one of them for the final
    // response.
    let hinted = curl(&[], &[format!("http://{}/hints?n=3", proxy.address())]);
    assert_eq!((hinted[0].status, hinted[0].bytes), (200, 6));
}
