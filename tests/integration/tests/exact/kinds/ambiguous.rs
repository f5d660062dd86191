//! Requests that common servers read in different ways. A client must not be able to hide a request: the requests are
//! counted as the most generous server reads them, or the connection is opaque.

use std::cell::RefCell;

use ebb_fixtures::Case;
use ebb_fixtures::Wire;
use ebb_fixtures::server::{Step, Steps};

use super::{GET, OK};
use crate::exact::{EBB, watched};

pub(super) const CASES: &[Case] = &[
    // nginx, HAProxy, Apache and Go serve any method.
    Case::beside("exact::kinds::ambiguous_method_proxy", EBB, || {
        counted_or_opaque("PROXY / HTTP/1.0\r\n\r\n", 1);
    }),
    // Go ignores Transfer-Encoding in HTTP/1.0 (RFC 9112, 6.1: the framing is faulty).
    Case::beside("exact::kinds::ambiguous_coding_in_http_1_0", EBB, || {
        let post =
            "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
        let feed = "FEED / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        counted_or_opaque(&format!("{post}{feed}{GET}"), 3);
    }),
    // Python's http.server takes the first length (RFC 9112, 6.3: an unrecoverable error).
    Case::beside("exact::kinds::ambiguous_lengths", EBB, || {
        let lengths = "Content-Length: 0\r\nContent-Length: 30\r\n";
        counted_or_opaque(&post(lengths, GET), 2);
    }),
    // Node's lenient parser and cheroot read the chunks, HAProxy's lenient parser the length.
    Case::beside("exact::kinds::ambiguous_blank_before_a_colon", EBB, || {
        let fields = "Content-Length: 35\r\nTransfer-Encoding : chunked\r\n";
        counted_or_opaque(&post(fields, &format!("0\r\n\r\n{GET}")), 2);
        counted_or_opaque(&post("Content-Length : 30\r\n", GET), 1);
    }),
    // HAProxy's lenient parser, cheroot and Python's http.server take them for names of other fields.
    Case::beside("exact::kinds::ambiguous_bytes_in_a_name", EBB, || {
        for field in ["Content\rLength: 30\r\n", "Content-Length\x1a 30\r\n"] {
            counted_or_opaque(&post(field, GET), 2);
        }
    }),
    // Node's lenient parser reads a chunk of size 0 after the data.
    Case::beside("exact::kinds::ambiguous_end_of_a_chunk", EBB, || {
        let body = format!("1\r\nx0;FFFF\r\n\r\n{GET}");
        counted_or_opaque(&post("Transfer-Encoding: chunked\r\n", &body), 2);
    }),
    // aiohttp reads no body: a CONNECT request has none (RFC 9110, 9.3.6).
    Case::beside("exact::kinds::ambiguous_body_of_connect", EBB, || {
        let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n";
        let no = "HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno";
        let answers = [no, OK].concat();
        talk(&format!("{connect}{GET}"), &answers, 2);
    }),
    // Go's handlers get it as a request. A server that knows no HTTP/2 can answer it, and the requests after it.
    Case::beside("exact::kinds::ambiguous_preface", EBB, || {
        let first_line = "PRI * HTTP/2.0\r\n";
        counted_or_opaque(&format!("{first_line}Host: a\r\n\r\n{GET}"), 2);
        counted_or_opaque(&format!("{first_line}\r\nSM\r\n\r\n"), 1);
        counted_or_opaque(&format!("{GET}{first_line}\r\n{GET}"), 3);
    }),
    // Node's lenient parser takes a carriage return alone for the end of a line.
    Case::beside("exact::kinds::ambiguous_carriage_return", EBB, || {
        counted_or_opaque(&format!("GET / HTTP/1.1\r\nHost: a\r\n\r{GET}"), 2);
        let body = format!("0\r\n\r{GET}");
        counted_or_opaque(&post("Transfer-Encoding: chunked\r\n", &body), 2);
    }),
    // nginx and HAProxy accept it, as a newline alone at the end of any other line.
    Case::beside("exact::kinds::newline_after_a_chunk", EBB, || {
        let chunks = "5\r\nhello\n0\r\n\r\n";
        let request = post("Transfer-Encoding: chunked\r\n", chunks);
        let ends = talk(&format!("{request}{GET}"), &OK.repeat(2), 2);
        assert_eq!(ends, (2, 0), "answered, opaque");
    }),
    Case::beside("exact::kinds::surplus_bytes_of_a_server", EBB, || {
        for count in 1..=16 {
            surplus(count);
        }
    }),
];

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
}

/// Sends bytes in which a server sees `served` requests.
#[track_caller]
fn counted_or_opaque(bytes: &str, served: usize) {
    talk(bytes, &OK.repeat(served), served as u64);
}

/// Sends these bytes, and receives these responses to `served` requests. Returns how many requests ended as answered
/// and as opaque.
#[track_caller]
fn talk(bytes: &str, responses: &str, served: u64) -> (u64, u64) {
    let totals = watched(
        |cgroup| RefCell::new(Steps::start(cgroup)),
        |server, _| {
            let mut server = server.borrow_mut();
            server.script(&[Step::Read(bytes.len()), Step::Write(responses.into())]);
            let mut wire = Wire::connect(server.address());
            wire.send(bytes);
            wire.take(responses.len());
            assert_eq!(server.writes(), 1);
        },
    );
    let ends = totals.ends();
    let is_exact = (ends.answered, ends.aborted, ends.opaque) == (served, 0, 0);
    assert!(
        is_exact || ends.opaque > 0,
        "{bytes:?}: {ends:?}, {served} were served"
    );
    (ends.answered, ends.opaque)
}

/// The server sends bytes after a complete response. They answer no request, so they are ignored.
#[track_caller]
fn surplus(count: usize) {
    let totals = watched(
        |cgroup| RefCell::new(Steps::start(cgroup)),
        |server, _| {
            let mut server = server.borrow_mut();
            let more = format!("{OK}{}", "!".repeat(count));
            server.script(&[
                Step::Read(GET.len()),
                Step::Write(more.clone().into()),
                Step::Read(GET.len()),
                Step::Write(OK.into()),
            ]);
            let mut wire = Wire::connect(server.address());
            for response in [&more, OK] {
                wire.send(GET);
                wire.take(response.len());
            }
            assert_eq!(server.writes(), 2);
        },
    );
    let ends = totals.ends();
    assert_eq!(
        (ends.answered, ends.opaque),
        (2, 0),
        "{count} bytes: {ends:?}"
    );
}

/// The bodies above are as long as the request in them.
const _: () = assert!(GET.len() == 30);
