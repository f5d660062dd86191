//! A client load: a set number of concurrent requests, spread over the endpoints.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ebb_fixtures::eventually;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time;

use super::{SOON, runtime};

/// Maximum number of error texts that are kept.
const KEPT: usize = 10;

/// Pause between two look-ups of a Service's endpoints while the Service has no endpoints.
const NOBODY: Duration = Duration::from_millis(10);

/// A running client load. Dropping it ends the load.
pub struct Traffic {
    shared: Arc<Shared>,
    /// Number of busy workers. A worker whose number is lower than this value sends requests; the other workers are
    /// idle.
    busy: watch::Sender<usize>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    endpoints: Box<dyn Fn() -> Vec<SocketAddr> + Send + Sync>,
    path: String,
    next: AtomicUsize,
    /// Requests sent and not yet answered.
    in_flight: AtomicUsize,
    answered: AtomicU64,
    failed: AtomicU64,
    errors: Mutex<Vec<String>>,
}

/// The results of a client load so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Requests answered with 200.
    pub answered: u64,
    /// Requests not answered with 200.
    pub failed: u64,
    /// The texts of the first errors, at most 10.
    pub errors: Vec<String>,
}

impl Traffic {
    /// Creates a load of at most `most` concurrent requests. Initially no request is sent. The server answers each
    /// request after `sleep`.
    #[must_use]
    pub fn new(
        endpoints: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static,
        most: usize,
        sleep: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            endpoints: Box::new(endpoints),
            path: format!("/?sleep={}", sleep.as_millis()),
            next: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            errors: Mutex::default(),
        });
        let busy = watch::Sender::new(0);
        let workers = (0..most)
            .map(|number| runtime().spawn(Arc::clone(&shared).work(number, busy.subscribe())))
            .collect();
        Self {
            shared,
            busy,
            workers,
        }
    }

    /// Sets the number of concurrent requests from now on. Returns the current time.
    pub fn set(&self, in_flight: usize) -> Instant {
        let now = Instant::now();
        self.busy.send_replace(in_flight);
        now
    }

    /// Waits until no request is in flight. Call this after the load is set to zero.
    ///
    /// # Panics
    /// If a request is still in flight after [`SOON`].
    #[track_caller]
    pub fn await_all_answered(&self) {
        eventually("all requests answered", SOON, || {
            (self.shared.in_flight.load(Ordering::Acquire) == 0).then_some(())
        });
    }

    /// The results of a client load so far.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome {
            answered: self.shared.answered.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            errors: self
                .shared
                .errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// # Panics
    /// If a request was not answered with 200, or none was sent.
    #[track_caller]
    pub fn assert_all_ok(&self) {
        let outcome = self.outcome();
        assert!(outcome.failed == 0 && outcome.answered > 0, "{outcome:?}");
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for worker in &self.workers {
            worker.abort();
        }
    }
}

impl Shared {
    async fn work(self: Arc<Self>, number: usize, mut busy: watch::Receiver<usize>) {
        // This loop ends when the task is aborted or the sender of `busy` is dropped.
        while busy.wait_for(|busy| number < *busy).await.is_ok() {
            self.in_flight.fetch_add(1, Ordering::AcqRel);
            // `busy` is read again after the increment. Otherwise a request could start after `await_all_answered` saw
            // that no request is in flight.
            let works = number < *busy.borrow();
            let asked = works && self.take_turn().await;
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            if works && !asked {
                time::sleep(NOBODY).await;
            }
        }
    }

    /// Sends one request to the next endpoint. Returns whether there was an endpoint.
    async fn take_turn(&self) -> bool {
        let endpoints = (self.endpoints)();
        if endpoints.is_empty() {
            return false;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match self.ask(endpoints[turn % endpoints.len()]).await {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
                if errors.len() < KEPT {
                    errors.push(error);
                }
            }
        }
        true
    }

    /// Sends one request on a new connection. A persistent connection would bind its worker to one pod, and this pod
    /// may be terminating.
    async fn ask(&self, address: SocketAddr) -> Result<(), String> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| format!("{address}: {error}"))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = Request::get(&self.path)
            .header("host", "app")
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let asked = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| format!("{address}: {error}"))?;
            let status = answer.status();
            answer
                .into_body()
                .collect()
                .await
                .map_err(|error| format!("{address}: body: {error}"))?;
            // The connection ends when its sender is dropped.
            drop(sender);
            if status == 200 {
                Ok(())
            } else {
                Err(format!("{address}: {status}"))
            }
        };
        let (result, _) = tokio::join!(asked, connection);
        result
    }
}
