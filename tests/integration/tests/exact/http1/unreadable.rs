//! Bytes that are not HTTP: the connection counts as one request in flight until it closes, and is reported as opaque.

use ebb_fixtures::server::{Files, Reply, Sample, Scripted};
use ebb_fixtures::watch::{Ends, Totals};
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

const SCRIPTED: &[Need] = &[Need::Ebb, Need::Tool("python3")];

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::http1::binary_bytes_are_opaque", SCRIPTED, binary),
    Case::beside(
        "exact::http1::server_that_speaks_first_is_opaque",
        SCRIPTED,
        speaks_first,
    ),
    Case::beside(
        "exact::http1::http_0_9_is_opaque_or_one",
        SCRIPTED,
        http_0_9,
    ),
    Case::beside("exact::http1::refused_garbage_leaves_nothing", EBB, refused),
    Case::beside(
        "exact::http1::request_that_turns_to_garbage_leaves_nothing",
        EBB,
        turns,
    ),
];

const ONE_OPAQUE: Ends = Ends {
    answered: 0,
    aborted: 0,
    opaque: 1,
    excluded: 0,
};

fn binary() {
    let totals = talk("", "pong", |wire| {
        let every_byte: Vec<u8> = (0..=255).cycle().take(3_000).collect();
        wire.send(every_byte);
    });
    assert_eq!(totals.ends(), ONE_OPAQUE);
}

/// The server sends the first bytes, as in SMTP, SSH and MySQL.
fn speaks_first() {
    let totals = talk("220 mail.test ESMTP\r\n", "250 ok\r\n", |wire| {
        wire.take(21);
        wire.send("EHLO test\r\n");
    });
    assert_eq!(totals.ends(), ONE_OPAQUE);
}

/// Runs `talk` on a connection. Checks that the connection is opaque while it is open, and ends as opaque when it
/// closes.
#[track_caller]
fn talk(greeting: &str, reply: &str, talk: impl Fn(&mut Wire)) -> Totals {
    let replies = [Reply::new(reply)];
    watched(
        |cgroup| Scripted::replies(cgroup, greeting, &replies),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            talk(&mut wire);
            let line = watch.until(
                "the connection is in flight for a whole interval",
                |_, line| line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99,
            );
            assert_eq!(line.by_protocol(), [0, 0, 0, 1], "opaque");
            drop(wire);
        },
    )
}

/// Sends `GET /` without a version (HTTP/0.9): there is no header section, and the close of the connection ends the
/// response.
fn http_0_9() {
    let totals = watched(
        |cgroup| Files::start(cgroup),
        |server, _| {
            let mut wire = Wire::connect(server.address());
            wire.send("GET /\r\n\r\n");
            wire.drain();
        },
    );
    let Ends {
        answered,
        aborted,
        opaque,
        excluded,
    } = totals.ends();
    assert_eq!(
        (answered + aborted + opaque, excluded),
        (1, 0),
        "{totals:?}"
    );
}

/// hyper answers the invalid bytes with a 400 and closes the connection.
fn refused() {
    leaves_nothing("\u{16}\u{3}\u{1}\u{0}garbage\r\n\r\n", 1);
}

fn turns() {
    leaves_nothing(
        "GET / HTTP/1.1\r\nHost: test\r\n\r\n\u{0}\u{1}\u{2}\r\n\r\n",
        2,
    );
}

#[track_caller]
fn leaves_nothing(bytes: &str, most: u64) {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect(server.address());
            wire.send(bytes);
            wire.drain();
            drop(wire);
            watch.until("closed", |totals, line| {
                totals.requests > 0 && line.connections == 0
            });
        },
    );
    let Ends {
        answered,
        aborted,
        opaque,
        excluded,
    } = totals.ends();
    let all = answered + aborted + opaque;
    assert!((1..=most).contains(&all) && excluded == 0, "{totals:?}");
}
