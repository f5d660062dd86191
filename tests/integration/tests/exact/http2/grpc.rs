//! gRPC: a call is one request in flight for its whole duration, however many messages are sent in either direction.

use ebb_fixtures::client::Client;
use ebb_fixtures::server::{Script, Service};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, full, note};

use crate::exact::watched;

const GRPC: &[Need] = &[Need::Ebb, Need::Python("grpc")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http2::grpc_call", GRPC, || call("Unary", 0.0)),
    Case::beside("exact::http2::grpc_server_stream", GRPC, || {
        call("Server", seconds());
    }),
    Case::beside("exact::http2::grpc_client_stream", GRPC, || {
        call("Client", seconds());
    }),
    Case::beside("exact::http2::grpc_stream_both_ways", GRPC, || {
        call("Both", seconds());
    }),
];

fn seconds() -> f64 {
    if full() { 10.0 } else { 2.0 }
}

/// By how many seconds a call may take longer at the Python client than at the server's socket.
const PYTHON: f64 = 0.2;

fn call(kind: &str, seconds: f64) {
    let totals = watched(
        |cgroup| Service::start(Script::Grpc, cgroup),
        |server, watch| {
            let address = server.address().to_string();
            let client = Client::python("grpc", CLIENT, &[&address, kind, &seconds.to_string()]);
            if seconds > 0.0 {
                let line = watch.until("the call is in flight for a whole interval", |_, line| {
                    line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99
                });
                assert_eq!(line.by_protocol(), [0, 1, 0, 0], "HTTP/2");
            }
            let report = client.finish();
            let took: f64 = report
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("the call failed: {report:?}"));
            assert_eq!(server.requests(), 1);
            let integral = watch.settle().integral;
            note(format!(
                "gRPC {kind}: in flight for {integral:.3} s, the client waited {took:.3} s"
            ));
            assert!(
                (took - PYTHON..took + 0.01).contains(&integral),
                "the call was counted in flight for {integral} s, but took {took} s at the client"
            );
        },
    );
    assert_eq!(totals.ends(), Ends::answered(1));
}

const CLIENT: &str = include_str!("grpc_client.py");
