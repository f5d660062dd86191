//! A slow reader: a response is in flight until the network has accepted its last byte, even if the server has written
//! this byte long before.

use ebb_fixtures::server::{LARGE, Nginx, Sample};
use ebb_fixtures::watch::Ends;
use ebb_fixtures::{Case, Need, Wire};

use crate::exact::{EBB, watched};

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::http1::slow_reader_keeps_it_in_flight",
        EBB,
        server_is_done,
    ),
    Case::beside(
        "exact::http1::reader_that_leaves_ends_it",
        &[Need::Ebb, Need::Tool("nginx")],
        leaves,
    ),
];

/// The client's receive buffer, in bytes: close to the kernel's minimum of about 2 KiB. The server's send buffer
/// accepts a response of 64 KiB before the client reads.
const ROOM: usize = 2_048;

fn server_is_done() {
    let totals = watched(
        |cgroup| Sample::start(cgroup),
        |server, watch| {
            let mut wire = Wire::connect_narrow(server.address(), ROOM);
            wire.get("/?bytes=65536", "");
            let line = watch.until(
                "the request is in flight for a whole interval while the client does not read",
                |_, line| line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99,
            );
            assert_eq!(line.completed, 0);
            // The server itself has finished the request. (The test queries the server only after the check of Ebb's
            // counts, because Ebb counts the query too.)
            assert_eq!(server.stats().in_flight, 0);
            assert_eq!(wire.response(), 200);
            watch.until("request ends when its response is read", |totals, line| {
                (totals.completed, line.in_flight, line.connections) == (2, 0, 1)
            });
        },
    );
    assert_eq!(totals.ends(), Ends::answered(2));
}

fn leaves() {
    let totals = watched(
        |cgroup| Nginx::start(cgroup),
        |nginx, watch| {
            let mut wire = Wire::connect_narrow(nginx.address(), ROOM);
            wire.get("/large", "");
            assert!(wire.header().contains(&LARGE.to_string()));
            watch.until("in flight", |_, line| line.in_flight == 1);
            drop(wire);
            watch.until("ended", |_, line| {
                (line.in_flight, line.connections) == (0, 0)
            });
        },
    );
    let aborted = Ends {
        aborted: 1,
        ..Ends::default()
    };
    assert_eq!(totals.ends(), aborted);
}
