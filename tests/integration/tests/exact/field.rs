//! Traffic from public bug reports that an earlier version counted wrongly. Each test has the name and the values of
//! its report; the parser's own tests have the whole kind around it.

use std::net::Ipv4Addr;
use std::process::Command;

use ebb_fixtures::client::Client;
use ebb_fixtures::h2::{H2, flag, kind};
use ebb_fixtures::net::NetNs;
use ebb_fixtures::server::{HaProxy, Reply, Sample, Script, Scripted, ServerSite, Service};
use ebb_fixtures::watch::{Ends, SOON, Totals, Watch};
use ebb_fixtures::{Case, Need, Process, TestCgroup, Wire, take_callbacks_away};

use super::{EBB, INTERVAL, watched};

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::field::k1_streams_1_to_2000", EBB, || {
        for streams in [1, 100, 512, 513, 600, 2000] {
            many_streams(streams);
        }
    }),
    Case::beside("exact::field::k1_streams_10000", EBB, || {
        many_streams(10_000);
    }),
    Case::beside(
        "exact::field::k2_calls_out_through_a_sidecar",
        &[
            Need::Ebb,
            Need::Tool("nft"),
            Need::Tool("ip"),
            Need::Tool("curl"),
            Need::Tool("haproxy"),
        ],
        calls_out_through_a_sidecar,
    ),
    Case::beside(
        "exact::field::k3_goaway_that_refuses_streams",
        &[Need::Ebb, Need::Python("h2")],
        goaway,
    ),
    Case::beside("exact::field::k4_method_in_lower_case", EBB, lower_case),
    Case::beside(
        "exact::field::k5_five_blanks_before_a_length",
        EBB,
        five_blanks,
    ),
    Case::beside(
        "exact::field::k6_four_blanks_after_chunked",
        EBB,
        four_blanks_after_chunked,
    ),
    Case::beside(
        "exact::field::k7_responses_without_a_length",
        EBB,
        without_a_length,
    ),
    Case::beside("exact::field::k8_expectation_refused", EBB, expectation),
    Case::beside(
        "exact::field::k9_last_chunk_after_a_complete_response",
        EBB,
        last_chunk,
    ),
    Case::beside("exact::field::k10_empty_lines", EBB, empty_lines),
    Case::beside("exact::field::k11_status_999", EBB, status_999),
    Case::beside("exact::field::k12_proxy_protocol", EBB, proxy_protocol),
    Case::beside(
        "exact::field::k14_callbacks_taken_away",
        EBB,
        callbacks_taken_away,
    ),
    Case::beside(
        "exact::field::k15_mptcp_with_three_subflows",
        &[
            Need::Ebb,
            Need::Mptcp,
            Need::Tool("ip"),
            Need::Tool("python3"),
        ],
        mptcp,
    ),
    Case::beside("exact::field::k16_what_servers_accept", EBB, accepted),
    Case::beside(
        "exact::field::k17_blank_before_a_colon",
        EBB,
        blank_before_a_colon,
    ),
    Case::beside("exact::field::k18_counting_resumes", EBB, resumes),
];

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Opens so many streams on one connection before it ends the body of any of them. The server answers each one at its
/// end. Then opens 10 more.
fn many_streams(count: u64) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch: &mut Watch| {
            let mut h2 = H2::connect(server.address());
            let streams: Vec<_> = (0..count).map(|_| h2.post("/")).collect();
            let line = watch.until("all streams are in flight", |_, line| {
                line.in_flight == count
            });
            assert_eq!(line.by_protocol(), [0, count, 0, 0], "HTTP/2");
            for some in streams.chunks(500) {
                for stream in some {
                    h2.send(kind::DATA, flag::END_STREAM, *stream, []);
                }
                h2.answers(some);
            }
            let more: Vec<_> = (0..10).map(|_| h2.get("/")).collect();
            h2.answers(&more);
            let line = watch.until("nothing happens after all of them", |totals, line| {
                totals.requests == count + 10 && (line.requests, line.completed) == (0, 0)
            });
            assert_eq!((line.in_flight, line.connections), (0, 1), "{line:?}");
            assert_eq!(server.stats().requests, count + 10);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(count + 11), "{totals:?}");
}

/// Of five streams in flight, the server refuses all but the first, answers the first, and keeps the connection open.
fn goaway() {
    let totals = watched(
        |cgroup| Service::start(Script::Frames, cgroup),
        |server, watch: &mut Watch| {
            let mut h2 = H2::connect(server.address());
            let first = h2.post("/");
            for _ in 0..3 {
                h2.get("/in-turns?n=9");
            }
            let last = h2.post(&format!("/refuse?n={first}"));
            watch.until("five are in flight", |_, line| line.in_flight == 5);
            h2.send(kind::DATA, flag::END_STREAM, last, []);
            watch.until("one is left", |_, line| line.in_flight == 1);
            h2.send(kind::DATA, flag::END_STREAM, first, []);
            h2.answers(&[first]);
            watch.until("none is left on the open connection", |_, line| {
                (line.in_flight, line.connections) == (0, 1)
            });
            // Streams that the server has refused, and that the client opens nevertheless.
            h2.get("/in-turns?n=9");
            h2.send(kind::PING, 0, 0, [0; 8]);
            h2.until(|frame| frame.kind == kind::PING);
            let line = watch.until("the late stream is not in flight", |totals, _| {
                totals.requests == 6
            });
            assert_eq!((line.in_flight, line.connections), (0, 1), "{line:?}");
        },
    );
    let expected = Ends {
        aborted: 5,
        ..Ends::answered(1)
    };
    assert_eq!(totals.ends(), expected, "{totals:?}");
}

/// Runs `talk` on one connection to a server that answers the path `/N` with the reply of index N. Then checks that
/// nothing is in flight while the connection is open, unless `idle` says otherwise.
#[track_caller]
fn talk(replies: &[&str], idle: u64, talk: impl FnOnce(&mut Wire)) -> Totals {
    let replies: Vec<_> = replies.iter().map(|reply| Reply::new(*reply)).collect();
    watched(
        |cgroup| Scripted::replies(cgroup, "", &replies),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            talk(&mut wire);
            let line = watch.until("nothing happens for a whole interval", |_, line| {
                line.connections == 1 && (line.requests, line.completed) == (0, 0)
            });
            assert!(line.in_flight <= idle, "{line:?}");
        },
    )
}

/// Sends a request, and takes the `length` bytes of its response.
fn exchange(wire: &mut Wire, request: &str, length: usize) {
    wire.send(request);
    wire.take(length);
}

/// Sends `count` plain requests, each after the response to the one before.
fn ordinary(wire: &mut Wire, count: usize) {
    for _ in 0..count {
        exchange(wire, GET, OK.len());
    }
}

fn lower_case() {
    let totals = talk(&[OK], 0, |wire| {
        ordinary(wire, 1);
        exchange(wire, "patch / HTTP/1.1\r\nHost: test\r\n\r\n", OK.len());
        ordinary(wire, 3);
    });
    assert_eq!(totals.ends(), Ends::answered(5));
}

fn five_blanks() {
    let reply = "HTTP/1.1 200 OK\r\nContent-Length:     5\r\n\r\nhello";
    let totals = talk(&[reply], 0, |wire| {
        for _ in 0..20 {
            exchange(wire, GET, reply.len());
        }
    });
    assert_eq!(totals.ends(), Ends::answered(20));
}

fn four_blanks_after_chunked() {
    let totals = talk(&[OK], 0, |wire| {
        wire.send("POST / HTTP/1.1\r\nTransfer-Encoding: chunked    \r\n\r\n5\r\nhello\r\n0\r\n");
        wire.take(OK.len());
        // The end of the last chunk, and the next request.
        wire.send("\r\n");
        ordinary(wire, 20);
    });
    assert_eq!(totals.ends(), Ends::answered(21));
}

fn without_a_length() {
    let reply = "HTTP/1.1 200 OK\r\n\r\nhello";
    let totals = talk(&[reply], 1, |wire| {
        for _ in 0..20 {
            exchange(wire, GET, reply.len());
        }
    });
    // The last request ends with the connection: the client closes it.
    let ends = totals.ends();
    assert_eq!(
        (ends.answered + ends.aborted, ends.opaque),
        (20, 0),
        "{ends:?}"
    );
    assert!(ends.answered >= 19, "{ends:?}");
}

fn expectation() {
    let no = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno";
    let totals = talk(&[OK, no], 0, |wire| {
        let post = "POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        exchange(wire, post, no.len());
        ordinary(wire, 3);
    });
    assert_eq!(totals.ends(), Ends::answered(4));
}

fn last_chunk() {
    let reply = format!("{OK}0\r\n\r\n");
    let totals = talk(&[&reply], 0, |wire| {
        exchange(wire, GET, reply.len());
    });
    assert_eq!(totals.ends(), Ends::answered(1));
}

fn empty_lines() {
    let reply = format!("\r\n{OK}");
    let totals = talk(&[&reply], 0, |wire| {
        for _ in 0..5 {
            exchange(wire, &format!("\r\n{GET}"), reply.len());
        }
    });
    assert_eq!(totals.ends(), Ends::answered(5));
}

fn status_999() {
    let reply = "HTTP/1.1 999 Request denied\r\nContent-Length: 2\r\n\r\nno";
    let totals = talk(&[reply], 0, |wire| {
        for _ in 0..3 {
            exchange(wire, GET, reply.len());
        }
    });
    assert_eq!(totals.status.get("5xx"), Some(&3), "{totals:?}");
    assert_eq!(totals.ends(), Ends::answered(3));
}

fn proxy_protocol() {
    let version1 = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec();
    let version2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 1, 0xbb],
    ]
    .concat();
    for header in [version1, version2] {
        let totals = talk(&[OK], 0, |wire| {
            wire.send(&header);
            // The server of this test takes the header for the beginning of the first head, or for an empty head.
            wire.send(GET);
            wire.take(OK.len());
            ordinary(wire, 4);
        });
        let ends = totals.ends();
        assert_eq!((ends.opaque, ends.answered), (0, 5), "{totals:?}");
    }
}

fn accepted() {
    let zeros = "HTTP/1.1 200 OK\r\nContent-Length: 00000000000000000005\r\n\r\nhello";
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000005\r\nhello\r\n0\r\n\r\n";
    let folded = "HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n\r\nhello";
    let replies = [zeros, chunk, folded];
    let totals = talk(&replies, 0, |wire| {
        for _ in 0..3 {
            for (index, reply) in replies.iter().enumerate() {
                let request = format!("GET /{index} HTTP/1.1 \r\nHost: test\r\n\r\n");
                exchange(wire, &request, reply.len());
            }
        }
    });
    assert_eq!(totals.ends(), Ends::answered(9));
}

fn blank_before_a_colon() {
    let reply = "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello";
    let totals = talk(&[OK, reply], 0, |wire| {
        for _ in 0..3 {
            exchange(wire, "GET /1 HTTP/1.1\r\n\r\n", reply.len());
        }
        ordinary(wire, 1);
    });
    assert_eq!(totals.ends(), Ends::answered(4));
}

fn resumes() {
    let garbage = "no status line\r\n\r\n";
    let replies = [Reply::new(OK), Reply::new(garbage)];
    let totals = watched(
        |cgroup| Scripted::replies(cgroup, "", &replies),
        |server, watch: &mut Watch| {
            let mut wire = Wire::connect(server.address());
            ordinary(&mut wire, 1);
            exchange(&mut wire, "GET /1 HTTP/1.1\r\n\r\n", garbage.len());
            let line = watch.until("the connection is opaque", |_, line| {
                line.in_flight == 1 && (line.requests, line.completed) == (0, 0)
            });
            assert_eq!(line.by_protocol(), [0, 0, 0, 1], "opaque");
            ordinary(&mut wire, 10);
            let line = watch.until("counting has resumed", |_, line| {
                line.connections == 1 && (line.requests, line.completed) == (0, 0)
            });
            assert_eq!(line.in_flight, 0, "{line:?}");
        },
    );
    let expected = Ends {
        opaque: 1,
        ..Ends::answered(11)
    };
    assert_eq!(totals.ends(), expected);
    let events = ["unreadable", "resumed"].map(|kind| totals.events[kind]);
    assert_eq!(events, [1, 1], "{totals:?}");
}

/// Another program on an ancestor cgroup takes the callback for closing away from every connection. Of 20 requests, the
/// clients abort 10 with a RST.
fn callbacks_taken_away() {
    let ancestor = TestCgroup::new();
    take_callbacks_away(&ancestor);
    let pod = ancestor.child();
    let server = Sample::start(&pod);
    let mut watch = Watch::start(&pod, INTERVAL, &[]);
    let mut aborted = Vec::new();
    for number in 0..20 {
        let mut wire = Wire::connect(server.address());
        if number % 2 == 0 {
            wire.get("/", "");
            assert_eq!(wire.response(), 200);
        } else {
            wire.get("/?sleep=60000", "");
            aborted.push(wire);
        }
    }
    watch.until("10 requests are in flight", |_, line| line.in_flight == 10);
    for wire in aborted {
        wire.reset();
    }
    watch.until("nothing is left", |_, line| {
        (line.in_flight, line.connections) == (0, 0)
    });
    let expected = Ends {
        aborted: 10,
        ..Ends::answered(10)
    };
    assert_eq!(watch.settle().ends(), expected);
    drop(pod);
}

/// An MPTCP client with three subflows sends 9 requests.
fn mptcp() {
    let namespace = NetNs::new();
    for address in ["10.99.0.1", "10.99.0.2", "10.99.0.3"] {
        namespace.run("ip", &format!("address add {address}/32 dev lo"));
    }
    namespace.run("ip", "mptcp limits set subflow 2 add_addr_accepted 2");
    for address in ["10.99.0.2", "10.99.0.3"] {
        namespace.run("ip", &format!("mptcp endpoint add {address} subflow"));
    }
    let pod = TestCgroup::new();
    let totals = namespace.inside(|| {
        let mut command = Command::new("python3");
        command.args(["-c", include_str!("mptcp.py"), "server"]);
        let _server = Process::start(command, Some(&pod));
        let mut watch = Watch::start(&pod, INTERVAL, &[]);
        let mut client = Client::start("python3", &["-c", include_str!("mptcp.py"), "client"]);
        let line = watch.until("three subflows, 9 requests", |totals, line| {
            totals.requests > 0 && (line.requests, line.connections) == (0, 1)
        });
        assert_eq!((line.in_flight, line.by_protocol()), (1, [0, 0, 0, 1]));
        assert!(client.is_running(), "the client keeps the connection open");
        assert_eq!(client.stop().trim(), "9 answers, 3 subflows");
        watch.settle()
    });
    let expected = Ends {
        opaque: 1,
        ..Ends::default()
    };
    assert_eq!(totals.ends(), expected);
}

/// The pod's network has the rule with which a mesh redirects the pod's calls to its sidecar.
fn calls_out_through_a_sidecar() {
    const CALLS: u64 = 20;
    let namespace = NetNs::new();
    namespace.run("ip", "route add local 198.51.100.0/24 dev lo");
    let pod = TestCgroup::new();
    let elsewhere = TestCgroup::new();
    let totals = namespace.inside(|| {
        let there = Ipv4Addr::new(198, 51, 100, 1);
        let outside = Sample::start(ServerSite::at(&elsewhere, there));
        let sidecar = HaProxy::start(&pod, outside.address());
        let port = sidecar.address().port();
        namespace.run("nft", "add table ip mesh");
        namespace.run(
            "nft",
            "add chain ip mesh output { type nat hook output priority -100 ; }",
        );
        namespace.run(
            "nft",
            &format!(
                "add rule ip mesh output ip daddr 198.51.100.2 tcp dport 80 redirect to :{port}"
            ),
        );
        let mut watch = Watch::start(&pod, INTERVAL, &[]);
        let before = outside.stats().requests;
        for _ in 0..CALLS {
            let mut command = Command::new("curl");
            command.args(["--silent", "--fail", "--output", "/dev/null"]);
            command.arg("http://198.51.100.2/");
            let mut curl = Process::start(command, Some(&pod));
            let status = curl.wait(SOON);
            assert!(status.success(), "{status}");
        }
        assert_eq!(outside.stats().requests - before, CALLS);
        watch.settle()
    });
    assert_eq!(totals.ends(), Ends::answered(0), "{totals:?}");
}
