//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Healthy: the process answers. Ready: it does what it can on this node, which may be nothing; then the answer says
//! why. A node that cannot count is to be seen, not to hold up the roll-out on all others.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, PoisonError},
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
use tracing::{debug, warn};

use super::metrics::{Metrics, Shown, Standing};

/// Connections at a time: kubelet and a few Prometheus servers.
const SEATS: usize = 32;
/// For a request's header, and for a connection without one.
const PATIENCE: Duration = Duration::from_secs(10);
/// A rest after an error of `accept`, which is one of resources.
const REST: Duration = Duration::from_millis(100);

/// Answers questions about the agent.
#[derive(Clone, Debug)]
pub(super) struct Status {
    shown: Shown,
    metrics: Arc<Metrics>,
}

impl Status {
    pub(super) fn new(shown: Shown, metrics: Arc<Metrics>) -> Self {
        Self { shown, metrics }
    }

    /// Takes the address.
    ///
    /// # Errors
    /// If it cannot be had.
    pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Answers, without end.
    pub(super) async fn serve(self, listener: TcpListener) {
        let seats = Arc::new(Semaphore::new(SEATS));
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
                return;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "status connections cannot be accepted");
                    sleep(REST).await;
                    continue;
                }
            };
            let status = self.clone();
            let service = service_fn(move |request| {
                let answer = status.answer(&request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "status connection");
                }
                drop(seat);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => {
                let (status, line) = self.readiness();
                text(status, line)
            }
            "/metrics" => self.metrics(request),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /metrics, /healthz and /readyz\n".to_owned(),
            ),
        }
    }

    fn readiness(&self) -> (StatusCode, String) {
        let view = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |what: &str| {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("waits for {what}\n"),
            )
        };
        match (&view.standing, view.synced) {
            (Standing::Loading, _) => waits("the kernel programs"),
            (_, false) => waits("the API server"),
            (Standing::Counts { .. }, true) => (StatusCode::OK, "ok\n".to_owned()),
            (Standing::Lacks(_, why), true) => (StatusCode::OK, format!("does not count: {why}\n")),
        }
    }

    fn metrics(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let accept = request
            .headers()
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok());
        let format = Format::accepted(accept);
        match self.metrics.text(format) {
            Ok(all) => {
                let mut response = text(StatusCode::OK, all);
                let kind = HeaderValue::from_static(format.content_type());
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
