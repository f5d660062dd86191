//! `ebb-sample`, the server that keeps its own exact counts.

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

/// The server's counts at one moment, see `/stats`.
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
    /// If the server does not listen in time.
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

    /// The listening address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Reads the server's counts. An outside counter sees this query as a normal request.
    ///
    /// # Panics
    /// If the server does not answer.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut wire = Wire::connect(self.address);
        wire.get("/stats", "");
        let (status, body) = wire.response_with_body();
        assert_eq!(status, 200);
        serde_json::from_slice(&body).expect("the counts as JSON")
    }

    /// Stops the process (SIGSTOP): requests wait in its sockets until [`Self::resume`].
    pub fn pause(&self) {
        self.process.signal(Signal::SIGSTOP);
    }

    /// Resumes the process.
    pub fn resume(&self) {
        self.process.signal(Signal::SIGCONT);
    }

    /// Kills the process with SIGKILL: no connection is closed in order.
    pub fn kill(&self) {
        self.process.signal(Signal::SIGKILL);
    }
}

impl Stats {
    /// Mean requests in flight between an earlier reading and this one.
    #[must_use]
    pub fn mean_since(&self, earlier: &Self) -> f64 {
        (self.integral - earlier.integral) / (self.at - earlier.at)
    }
}
