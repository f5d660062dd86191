//! The status port: what the kubelet, Prometheus and people ask.
//!
//! Alive means that the decision loop comes round; an API server that is away is no reason to be restarted. Ready means
//! that everything there was to know at the start is known and reports are taken; it stays so, because agents must be
//! able to go on reporting.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ebb_metrics::Format;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time,
};
use tracing::warn;

use super::{metrics::Metrics, shared::Shared};

/// A loop that comes round every tenth of a second and did not for so long does not come round at all.
const DEAD_AFTER: u64 = 20;
/// Connections at a time: the kubelet, two Prometheus servers and a few people.
const CONNECTIONS: usize = 256;
/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(30);

/// What is served.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) shared: Arc<Shared>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: AtomicBool,
    pub(super) identity: String,
    pub(super) leading: watch::Receiver<bool>,
}

type Answer = Response<Full<Bytes>>;

impl Status {
    /// Serves on `listener` for ever.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot take a connection");
                    time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answer = this.answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                // Who breaks a connection off knows.
                let _ = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(slot);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is taken here");
        }
        match request.uri().path() {
            "/healthz" => self.alive(),
            "/readyz" if self.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ready"),
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: not all there is has been read yet",
            ),
            "/metrics" => {
                let accept = request
                    .headers()
                    .get(header::ACCEPT)
                    .and_then(|accept| accept.to_str().ok());
                let format = Format::accepted(accept);
                match self.metrics.text(format) {
                    Ok(body) => answer(StatusCode::OK, format.content_type(), body.into()),
                    Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
            "/v1/workloads" => self.workloads(),
            _ => text(
                StatusCode::NOT_FOUND,
                "nothing here; there are /healthz, /readyz, /metrics and /v1/workloads",
            ),
        }
    }

    fn alive(&self) -> Answer {
        let since = self.shared.since_beat();
        // Before the start is over there is nothing to decide.
        if since <= DEAD_AFTER || !self.ready.load(Ordering::Relaxed) {
            text(StatusCode::OK, "alive")
        } else {
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                &format!("no decision for {since} s; at most {DEAD_AFTER} are normal"),
            )
        }
    }

    fn workloads(&self) -> Answer {
        let views = self
            .shared
            .with(|engine, _| engine.views().collect::<Vec<_>>());
        let body = json!({
            "replica": self.identity,
            "leading": *self.leading.borrow(),
            "workloads": views,
        });
        answer(StatusCode::OK, "application/json", body.to_string().into())
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    answer(
        status,
        "text/plain; charset=utf-8",
        format!("{text}\n").into(),
    )
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, value);
    answer
}
