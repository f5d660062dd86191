//! The integral of requests in flight: the kernel's value lies between the server's value and the clients' value.
//!
//! A request reaches the socket after the client has begun to send it and before the server reads it. The last byte of
//! the response leaves the socket before the client receives it. So the kernel's value lies between the other two,
//! however long a busy or emulated machine delays the server, and no tolerance for noise is needed.

use std::{
    thread,
    time::{Duration, Instant},
};

use ebb_fixtures::Wire;

use super::{Check, shapes::as_the_server_says};
use crate::{Verdict, counted::CountedCgroup, measured::measured};

pub(super) const CHECKS: &[Check] = &[("the integral, between server's and clients'", integral)];

/// The time that the server takes for a request, the same as in the tests on real machines.
const HANDLER: Duration = Duration::from_millis(500);

/// The number of concurrent clients, and the number of requests of each client.
const CLIENTS: u64 = 10;
const ROUNDS: u64 = 3;

/// The maximum by which the kernel's integral may be below the server's, as a share of the server's. The server counts
/// a request until a moment after the write of the last byte has returned.
const LESS: f64 = 0.01;

fn integral() -> Verdict {
    let counted = CountedCgroup::new()?;
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
        "integral of the kernel, compared with that of the server",
        format!("{:+.2} %", (kernel / server - 1.0) * 100.0),
    );
    measured(
        "integral of the clients, compared with that of the server",
        format!("{:+.2} %", (clients / server - 1.0) * 100.0),
    );
    assert!(
        server * (1.0 - LESS) <= kernel && kernel <= clients,
        "request-seconds in flight: kernel {kernel:.3}, server {server:.3}, clients {clients:.3}"
    );
    Ok(())
}
