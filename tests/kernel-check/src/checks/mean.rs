//! The mean: the kernel's integral lies between the server's own and the clients'.
//!
//! A request reaches the socket after the client has begun to send and before the server reads it. Its last byte leaves the
//! socket before the client receives it. So the kernel's figure lies between the other two, however long a busy or an
//! emulated machine delays the server: no tolerance for noise is needed.

use std::{
    thread,
    time::{Duration, Instant},
};

use ebb_fixtures::Wire;

use super::{Check, shapes::as_the_server_says};
use crate::{Verdict, counted::Counted, measured::measured};

pub(super) const CHECKS: &[Check] = &[("the integral, between server's and clients'", integral)];

/// Duration of a request, the same as in the tests on real machines.
const HANDLER: Duration = Duration::from_millis(500);

/// Concurrent clients, and requests of each.
const CLIENTS: u64 = 10;
const ROUNDS: u64 = 3;

/// Largest shortfall of the kernel against the server, as a share: the server's count of a request ends a moment after the
/// write of its last byte has returned.
const LESS: f64 = 0.01;

fn integral() -> Verdict {
    let counted = Counted::new()?;
    let sample = counted.sample();
    let before = counted.reading();
    let address = sample.address();
    let clients: Duration = thread::scope(|scope| {
        let one = || {
            let mut wire = Wire::connect(address);
            let mut waited = Duration::ZERO;
            for _ in 0..ROUNDS {
                let start = Instant::now();
                wire.get(&format!("/?sleep={}", HANDLER.as_millis()), "");
                assert_eq!(wire.response(), 200);
                waited += start.elapsed();
            }
            waited
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a client"))
            .sum()
    });
    counted.at_rest();
    let kernel = counted.reading().integral_since(&before);
    as_the_server_says(&counted, &sample, CLIENTS * ROUNDS);
    let (server, clients) = (sample.stats().integral, clients.as_secs_f64());
    measured(
        "the integral, over the server's",
        format!("{:+.2} %", (kernel / server - 1.0) * 100.0),
    );
    measured(
        "the clients', over the server's",
        format!("{:+.2} %", (clients / server - 1.0) * 100.0),
    );
    assert!(
        server * (1.0 - LESS) <= kernel && kernel <= clients,
        "the kernel has {kernel:.3} request-seconds, the server {server:.3}, the clients {clients:.3}"
    );
    Ok(())
}
