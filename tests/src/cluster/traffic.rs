//! Clients: so many requests in flight at a time, spread over the pods that serve.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time;

use super::runtime;

/// Errors that are kept word for word.
const KEPT: usize = 10;

/// A load. Dropping it ends it.
pub struct Traffic {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    endpoints: Box<dyn Fn() -> Vec<SocketAddr> + Send + Sync>,
    path: String,
    /// Workers with a higher number rest.
    busy: AtomicUsize,
    next: AtomicUsize,
    answered: AtomicU64,
    failed: AtomicU64,
    errors: Mutex<Vec<String>>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Requests answered with 200.
    pub answered: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Some of what went wrong.
    pub errors: Vec<String>,
}

impl Traffic {
    /// Up to `most` requests in flight at a time, none for now, each for `sleep`.
    #[must_use]
    pub fn new(
        endpoints: impl Fn() -> Vec<SocketAddr> + Send + Sync + 'static,
        most: usize,
        sleep: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            endpoints: Box::new(endpoints),
            path: format!("/?sleep={}", sleep.as_millis()),
            busy: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            errors: Mutex::default(),
        });
        let workers = (0..most)
            .map(|number| runtime().spawn(Arc::clone(&shared).work(number)))
            .collect();
        Self { shared, workers }
    }

    /// From now on so many at a time; when that was.
    pub fn set(&self, in_flight: usize) -> Instant {
        let now = Instant::now();
        self.shared.busy.store(in_flight, Ordering::Relaxed);
        now
    }

    /// What came back so far.
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
    /// A request was not answered with 200, or none was sent.
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
    async fn work(self: Arc<Self>, number: usize) {
        loop {
            if number >= self.busy.load(Ordering::Relaxed) {
                time::sleep(Duration::from_millis(2)).await;
                continue;
            }
            let endpoints = (self.endpoints)();
            if endpoints.is_empty() {
                time::sleep(Duration::from_millis(10)).await;
                continue;
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
        }
    }

    /// One request on a connection of its own: a kept one would tie its worker to a pod that may be ending.
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
            // The connection ends when its sender does.
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
