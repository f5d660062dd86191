//! The clients of the demo: each sends a request, waits for the response, and sends the next one.
//!
//! Each client is a thread with a blocking socket: fifty threads cost little, and the demo builds without an async
//! runtime. Bias: anything but a 200 counts as a failure, with a description.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Time limit of a request. A cold start takes a fraction of a second, so a request that takes 30 s is stuck.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The results of all requests of one phase.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Time from a request to the end of its response, for each 200; sorted.
    pub(super) latencies: Vec<Duration>,
    /// One description per request that did not get a 200: its status or its error.
    pub(super) failures: Vec<String>,
}

impl Outcome {
    /// Returns the number of requests that were sent.
    pub(super) fn requests(&self) -> usize {
        self.latencies.len() + self.failures.len()
    }

    /// Returns the latency that `share` (0 to 1) of the responses did not exceed.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        let last = self.latencies.len().checked_sub(1)?;
        // The quantile by the nearest-rank method; rank 1 is the lowest latency.
        let rank = (share * self.latencies.len() as f64).ceil() as usize;
        self.latencies
            .get(rank.saturating_sub(1).min(last))
            .copied()
    }

    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failures.extend(other.failures);
    }
}

/// Runs `clients` clients in parallel for the duration `time`.
pub(super) fn steady(url: &str, clients: usize, time: Duration) -> Outcome {
    let until = Instant::now() + time;
    load(url, clients, &|_| Instant::now() < until)
}

/// Sends a single request.
pub(super) fn once(url: &str) -> Outcome {
    load(url, 1, &|sent| sent == 0)
}

fn load(url: &str, clients: usize, more: &(dyn Fn(usize) -> bool + Sync)) -> Outcome {
    let mut all = Outcome::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| client(url, more)))
            .collect();
        for client in clients {
            match client.join() {
                Ok(outcome) => all.add(outcome),
                Err(_) => all
                    .failures
                    .push("a client thread of the demo panicked".to_owned()),
            }
        }
    });
    all.latencies.sort_unstable();
    all
}

/// Runs one client with its own persistent connection.
fn client(url: &str, more: &dyn Fn(usize) -> bool) -> Outcome {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        // A proxy that the environment names must not be used for connections to this host.
        .proxy(None);
    let agent = ureq::Agent::new_with_config(config.build());
    let mut outcome = Outcome::default();
    while more(outcome.requests()) {
        let start = Instant::now();
        let response = agent.get(url).call().and_then(|mut response| {
            // The response ends with its body. The connection can be reused only after the body has been read.
            response.body_mut().read_to_vec()?;
            Ok(response.status())
        });
        match response {
            Ok(status) if status.as_u16() == 200 => outcome.latencies.push(start.elapsed()),
            Ok(status) => outcome.failures.push(format!("status {status}")),
            Err(error) => outcome.failures.push(error.to_string()),
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_ranks() {
        let latencies: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        let outcome = Outcome {
            latencies,
            ..Outcome::default()
        };
        assert_eq!(outcome.quantile(0.5), Some(Duration::from_millis(50)));
        assert_eq!(outcome.quantile(0.99), Some(Duration::from_millis(99)));
        assert_eq!(outcome.quantile(1.0), Some(Duration::from_millis(100)));
        assert_eq!(Outcome::default().quantile(0.5), None);
    }

    #[test]
    fn a_refused_connection_is_a_failure_with_its_reason() {
        // A port that was free a moment ago, so nothing listens on it.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let outcome = once(&format!("http://127.0.0.1:{port}/"));
        assert_eq!((outcome.requests(), outcome.failures.len()), (1, 1));
    }
}
