//! The status port of a program: what the kubelet, Prometheus and people ask.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, time::sleep};
use tracing::{debug, warn};

use crate::Format;

/// Connections at a time: the kubelet, a few Prometheus servers and a few people.
const SEATS: usize = 256;
/// For a request's header, and for a connection without one.
const PATIENCE: Duration = Duration::from_secs(30);
/// A rest after an error of `accept`, which is one of resources.
const REST: Duration = Duration::from_millis(100);

/// An answer: all of it in memory ([`page`]), or as it comes ([`stream`]).
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// How a program stands.
pub trait Status: Send + Sync + 'static {
    /// Whether it works; if not, why a restart would be better.
    ///
    /// # Errors
    /// Why it does not.
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    /// Whether it does what it is there for: a line about it.
    ///
    /// # Errors
    /// What it waits for.
    fn ready(&self) -> Result<String, String>;

    /// Its metrics.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    fn metrics(&self, format: Format) -> Result<String, fmt::Error>;

    /// What there is beside `/healthz`, `/readyz` and `/metrics`, by path.
    fn page(&self, _path: &str) -> Option<Answer> {
        None
    }
}

/// Answers on `listener`, without end.
pub async fn serve(listener: TcpListener, status: Arc<impl Status>) {
    LazyLock::force(&crate::process::BEGUN);
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
        let status = Arc::clone(&status);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&*status, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                debug!(%error, "status connection");
            }
            drop(seat);
        });
    }
}

fn answer(status: &impl Status, request: &Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is taken here");
    }
    match request.uri().path() {
        "/healthz" => match status.alive() {
            Ok(()) => text(StatusCode::OK, "alive"),
            Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, &why),
        },
        "/readyz" => match status.ready() {
            Ok(line) => text(StatusCode::OK, &line),
            Err(why) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!("not ready: {why}"),
            ),
        },
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
            match status.metrics(format) {
                Ok(all) => page(StatusCode::OK, format.content_type(), all),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        path => status.page(path).unwrap_or_else(|| {
            text(
                StatusCode::NOT_FOUND,
                "nothing here; there are /healthz, /readyz and /metrics",
            )
        }),
    }
}

fn text(status: StatusCode, text: &str) -> Answer {
    page(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// An answer with a body of this type.
pub fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

/// An answer that comes in pieces, until there are no more or nobody reads them.
pub fn stream(
    content_type: &'static str,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Answer {
    let frames = pieces.map(|piece| Ok(Frame::data(piece)));
    let mut answer = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
