//! The status port of a program, for Prometheus and people. Kubelet's probes use another port ([`crate::probe`]).
//!
//! Bias: towards new connections. Failure mode: if the port is full, a connection is closed: the connection that has
//! been idle longest among the connections of the address with the most connections.

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
    open_connections::{ConnectionGuard, Limits},
};

/// Connection limits, for a few Prometheus servers and for people. A browser opens up to six connections, and all users
/// of a port-forward have one address.
const LIMITS: Limits = Limits {
    port: "status",
    all: 256,
    per_address: 128,
};
/// Time limit for a request's header, and for an idle connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// Maximum length of a request's header in bytes. It must have room for the cookies that a browser sends to
/// `localhost`.
const BUFFER: usize = 64 * 1024;

/// The body of a response.
type Body = UnsyncBoxBody<Bytes, Infallible>;
/// A response. Its body is either in memory ([`page`]) or streamed ([`stream`]).
pub type Answer = Response<Body>;

/// The state of a program, for its status port.
pub trait Status: Send + Sync + 'static {
    /// Checks whether the program still works.
    ///
    /// # Errors
    /// The program does not work and should be restarted. The error is the reason.
    fn alive(&self) -> Result<(), String> {
        Ok(())
    }

    /// Checks whether the program is ready. Returns the line of text for the response to `/readyz`.
    ///
    /// # Errors
    /// The program is not ready. The error says what it waits for.
    fn ready(&self) -> Result<String, String>;

    /// Returns the metrics.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    fn metrics(&self, format: Format) -> Result<String, fmt::Error>;

    /// Returns the response for a path other than `/healthz`, `/readyz` and `/metrics`. `None` if the path is unknown.
    fn page(&self, _path: &str, _query: Option<&str>) -> Option<Answer> {
        None
    }
}

/// Answers requests on `listener`, forever. Requests for a host name that is not in `hosts` are refused.
pub async fn serve(listener: TcpListener, status: Arc<impl Status>, hosts: Hosts) {
    LazyLock::force(&crate::process::BEGUN);
    let hosts = Arc::new(hosts);
    connections::serve(listener, LIMITS, |stream, guard| {
        connection(stream, guard, Arc::clone(&status), Arc::clone(&hosts))
    })
    .await;
}

async fn connection(
    stream: TcpStream,
    guard: Arc<ConnectionGuard>,
    status: Arc<impl Status>,
    hosts: Arc<Hosts>,
) {
    let service = service_fn(|request| {
        guard.set_busy(true);
        let busy = Busy(Arc::clone(&guard));
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

/// The body of a response that is being sent. Until it is sent, its connection is not idle.
struct Sending {
    body: Body,
    _busy: Busy,
}

struct Busy(Arc<ConnectionGuard>);

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
                "{host:?} is not an accepted host name; use the IP address, localhost or the Service, or start \
                 ebb-agent, ebb-autoscaler or ebb-activator with --allowed-host"
            ),
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are allowed",
        );
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
            .unwrap_or_else(|| nothing("unknown path; try /healthz, /readyz or /metrics")),
    }
}

/// Returns the response of `/healthz`.
pub(crate) fn healthz(alive: Result<(), String>) -> Answer {
    match alive {
        Ok(()) => text(StatusCode::OK, "alive"),
        Err(why) => text(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

/// Returns the response of `/readyz`.
pub(crate) fn readyz(ready: Result<String, String>) -> Answer {
    match ready {
        Ok(line) => text(StatusCode::OK, &line),
        Err(why) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("not ready: {why}"),
        ),
    }
}

/// Returns the response for an unknown path.
pub(crate) fn nothing(what: &str) -> Answer {
    text(StatusCode::NOT_FOUND, what)
}

/// Adds security headers. The client must not guess the content type and must not cache the response, because responses
/// become outdated quickly and can contain secrets. Scripts are forbidden, unless the response has its own policy.
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

/// Returns a response of one line.
pub fn text(status: StatusCode, text: &str) -> Answer {
    page(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// Returns a response with a body of this content type.
pub fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()).boxed_unsync());
    *answer.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

/// Returns a streamed response. It ends after the last piece, or when the client stops reading.
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
