//! Header sections: very long ones, and ones that are cut at every position.

use ebb_fixtures::client::curl;
use ebb_fixtures::server::{Reply, Sample, Scripted};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

const SCRIPTED: &[Need] = &[Need::Ebb, Need::Tool("python3"), Need::Tool("curl")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http1::head_of_16_kib_in_one_field", EBB, one_field),
    Case::beside(
        "exact::http1::head_of_16_kib_in_many_fields",
        EBB,
        many_fields,
    ),
    Case::beside(
        "exact::http1::response_heads_of_16_kib",
        SCRIPTED,
        response_heads,
    ),
    Case::beside("exact::http1::request_head_cut_at_each_place", EBB, cut),
    Case::beside(
        "exact::http1::response_head_byte_by_byte",
        SCRIPTED,
        response_byte_by_byte,
    ),
];

const KIB_16: usize = 16 * 1024;

fn one_field() {
    long_heads(&format!("X-Long: {}\r\n", "l".repeat(KIB_16)));
}

/// Sends 98 long fields: together with `Host` and `Content-Length` there are 100, the maximum that hyper accepts.
fn many_fields() {
    long_heads(&format!("X-Field: {}\r\n", "f".repeat(KIB_16 / 98)).repeat(98));
}

/// Sends requests whose `Content-Length` comes before or after the long fields. Each request is sent once in one write,
/// and once in packets of 1 KiB.
fn long_heads(long: &str) {
    let (start, length) = ("POST / HTTP/1.1\r\nHost: test\r\n", "Content-Length: 3\r\n");
    let requests = [
        format!("{start}{length}{long}\r\nabc"),
        format!("{start}{long}{length}\r\nabc"),
    ];
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for request in &requests {
                wire.send(request);
                assert_eq!(wire.response(), 200);
                for piece in request.as_bytes().chunks(1_024) {
                    wire.send(piece);
                }
                assert_eq!(wire.response(), 200);
            }
            // Finally, the client sends all requests in one write.
            wire.send(requests.concat());
            assert_eq!((wire.response(), wire.response()), (200, 200));
            assert_eq!(server.stats().requests, 6);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(7));
}

fn response_heads() {
    let length = "Content-Length: 5\r\n";
    let one = format!("X-Long: {}\r\n", "l".repeat(KIB_16));
    let many = "Set-Cookie: a=b; Path=/; HttpOnly\r\n".repeat(KIB_16 / 35);
    let replies: Vec<_> = [
        (length, &one),
        (length, &many),
        ("", &format!("{one}{length}")),
        ("", &format!("{many}{length}")),
    ]
    .into_iter()
    .map(|(before, rest)| Reply::new(format!("HTTP/1.1 200 OK\r\n{before}{rest}\r\nhello")))
    .collect();
    let totals = watched(
        |cgroup| Scripted::replies(cgroup, "", &replies),
        |server, _| {
            let urls: Vec<_> = (0..replies.len())
                .map(|number| format!("http://{}/{number}", server.address()))
                .collect();
            let urls: Vec<_> = urls.iter().map(String::as_str).collect();
            let fetched = curl(&[], &urls);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 5)));
            assert_eq!(fetched[3].connects, 0, "on one connection");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(4));
}

/// Cuts a request with a body in two at each position in turn, all on one connection.
fn cut() {
    let request =
        "\r\nPUT /?sleep=0 HTTP/1.1\r\nHost: test\r\nX-A: b\r\ncontent-length: 4\r\n\r\nbody";
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            for place in 1..request.len() {
                wire.send(&request[..place]);
                wire.send(&request[place..]);
                assert_eq!(wire.response(), 200);
            }
            assert_eq!(server.stats().requests, request.len() as u64 - 1);
        },
    );
    assert_eq!(totals.ends(), Ends::answered(request.len() as u64));
}

fn response_byte_by_byte() {
    let reply = Reply {
        piece: 1,
        ..Reply::new("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello")
    };
    let totals = watched(
        |cgroup| Scripted::replies(cgroup, "", std::slice::from_ref(&reply)),
        |server, _| {
            let url = format!("http://{}/", server.address());
            let fetched = curl(&[], &[&url; 4]);
            assert!(fetched.iter().all(|f| (f.status, f.bytes) == (200, 5)));
            assert_eq!(fetched[3].connects, 0, "on one connection");
        },
    );
    assert_eq!(totals.ends(), Ends::answered(4));
}
