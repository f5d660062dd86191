//! The status port of a program: what Prometheus and people ask. The kubelet has a port of its own ([`crate::probe`]).
//!
//! Bias: towards a new connection. If the port is full, the idlest connection of whoever has the most is closed.

use std::{
    convert::Infallible,
    fmt, future,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming, SizeHint},
    header::{
        ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
        X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::debug;

use crate::{
    Format, connections,
    host::{self, Hosts},
    seats::{Limits, Seat},
};

/// A few Prometheus servers, and people: a browser has up to six connections, and all whose port is forwarded have one
/// address.
const LIMITS: Limits = Limits {
    port: "status",
    all: 256,
    per_address: 128,
};
/// For a request's header, and for a connection without one.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the header of a request, bytes: the cookies of `localhost` come along from a browser.
const BUFFER: usize = 64 * 1024;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;
/// An answer: all of it in memory ([`page`]), or as it comes ([`stream`]).
pub type Answer = Response<Body>;

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

    /// What there is beside `/healthz`, `/readyz` and `/metrics`, by path and query.
    fn page(&self, _path: &str, _query: Option<&str>) -> Option<Answer> {
        None
    }
}

/// Answers on `listener`, without end, to whoever asks for one of `hosts`.
pub async fn serve(listener: TcpListener, status: Arc<impl Status>, hosts: Hosts) {
    LazyLock::force(&crate::process::BEGUN);
    let hosts = Arc::new(hosts);
    connections::serve(listener, LIMITS, |stream, seat| {
        connection(stream, seat, Arc::clone(&status), Arc::clone(&hosts))
    })
    .await;
}

async fn connection(
    stream: TcpStream,
    seat: Arc<Seat>,
    status: Arc<impl Status>,
    hosts: Arc<Hosts>,
) {
    let service = service_fn(|request| {
        seat.set_busy(true);
        let busy = Busy(Arc::clone(&seat));
        let answer = hardened(answer(&*status, &hosts, &request));
        let answer = answer.map(|body| Sending { body, _busy: busy });
        future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        debug!(%error, "status connection");
    }
}

/// The body of an answer that is on its way. Its connection is not idle until it has been sent.
struct Sending {
    body: Body,
    _busy: Busy,
}

struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set_busy(false);
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn answer(status: &impl Status, hosts: &Hosts, request: &Request<Incoming>) -> Answer {
    if let Err(host) = hosts.check(request) {
        return text(
            StatusCode::MISDIRECTED_REQUEST,
            &format!(
                "{host:?} is not a name of this program; ask for its IP address, localhost or its Service, or start \
                 ebb-agent, ebb-autoscaler or ebb-activator with --allowed-host"
            ),
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is taken here");
    }
    match request.uri().path() {
        "/healthz" => healthz(status.alive()),
        "/readyz" => readyz(status.ready()),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT);
            let format = Format::accepted(accept.and_then(|accept| accept.to_str().ok()));
            match status.metrics(format) {
                Ok(all) => page(StatusCode::OK, format.content_type(), all),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        path => status
            .page(path, host::query(request))
            .unwrap_or_else(|| nothing("nothing here; there are /healthz, /readyz and /metrics")),
    }
}

/// The answer at `/healthz`.
pub(crate) fn healthz(alive: Result<(), String>) -> Answer {
    match alive {
        Ok(()) => text(StatusCode::OK, "alive"),
        Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

/// The answer at `/readyz`.
pub(crate) fn readyz(ready: Result<String, String>) -> Answer {
    match ready {
        Ok(line) => text(StatusCode::OK, &line),
        Err(why) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("not ready: {why}"),
        ),
    }
}

/// The answer where there is nothing.
pub(crate) fn nothing(what: &str) -> Answer {
    text(StatusCode::NOT_FOUND, what)
}

/// An answer with what keeps browsers and caches from taking it for something else: no guess of its type, no copy
/// (figures are of this moment, and may be secret), and no script unless the answer brings a policy of its own.
pub(crate) fn hardened(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    answer
}

/// An answer of one line.
pub fn text(status: StatusCode, text: &str) -> Answer {
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
    let value = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

#[cfg(test)]
mod tests;
