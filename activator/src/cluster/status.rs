//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Healthy: the process answers. Ready: all slices there are have been read, and it is not about to go.

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
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tracing::warn;

use super::metrics::Metrics;

/// Connections at a time: kubelet and a few Prometheus servers.
const SEATS: usize = 32;
/// For a request's header, and for a connection without one.
const PATIENCE: Duration = Duration::from_secs(10);
/// A rest after an error of `accept`, which is one of resources.
const REST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Status {
    pub(super) metrics: Metrics,
    pub(super) ready: AtomicBool,
}

type Answer = Response<Full<Bytes>>;

impl Status {
    /// Answers, without end.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let seats = Arc::new(Semaphore::new(SEATS));
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot take a connection to the status port");
                    sleep(REST).await;
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
                let _ended = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(seat);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is taken here");
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "alive"),
            "/readyz" if self.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ready"),
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the slices of the cluster have not been read yet, or it is about to go",
            ),
            "/metrics" => {
                let accept = request.headers().get(ACCEPT);
                let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
                match self.metrics.text(format) {
                    Ok(body) => answer(StatusCode::OK, format.content_type(), body),
                    Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                }
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "nothing here; there are /healthz, /readyz and /metrics",
            ),
        }
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}
