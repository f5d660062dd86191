//! `ebb-sample`, the server that knows its own counts.

use std::net::SocketAddr;
use std::process::Command;

use super::{Place, listening};
use crate::harness::{Process, Signal, Wire, program};

/// A running `ebb-sample`.
#[derive(Debug)]
pub struct Sample {
    process: Process,
    address: SocketAddr,
}

/// Its counts at one moment, see `/stats`.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
pub struct Stats {
    /// Requests begun.
    pub requests: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Request-seconds since the start.
    pub integral: f64,
    /// Seconds since the start.
    pub at: f64,
}

impl Sample {
    /// # Panics
    /// It does not listen in time.
    #[must_use]
    pub fn start<'a>(place: impl Into<Place<'a>>) -> Self {
        let place = place.into();
        let address = place.free_address();
        let mut command = Command::new(program("ebb-sample"));
        command
            .args(["--address", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()]);
        let process = Process::start(command, Some(place.cgroup));
        listening(address);
        Self { process, address }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts. Asking is a request as any other to a counter outside.
    ///
    /// # Panics
    /// It does not answer.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut wire = Wire::connect(self.address);
        wire.get("/stats", "");
        let (status, body) = wire.response_with_body();
        assert_eq!(status, 200);
        serde_json::from_slice(&body).expect("the counts as JSON")
    }

    /// Stops it where it is: what comes waits in its sockets, until [`Self::resume`].
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Kills it with SIGKILL: no farewell to anybody.
    pub fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }
}

impl Stats {
    /// Mean number in flight between an earlier reading and this one.
    #[must_use]
    pub fn mean_since(&self, earlier: &Self) -> f64 {
        (self.integral - earlier.integral) / (self.at - earlier.at)
    }
}
