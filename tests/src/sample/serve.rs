//! The server itself: it accepts connections and answers requests. On SIGTERM or SIGINT it first finishes the requests in
//! flight.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Context;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::answer::Answer;
use super::ask::Ask;
use super::burn::burn;
use super::gauge::{Gauge, InFlight};
use super::options::Options;

/// Either an [`Answer`] or a short text.
type Reply = http_body_util::Either<Answer, http_body_util::Full<Bytes>>;

/// Serves until SIGTERM or SIGINT, then until the last request in flight is answered.
///
/// # Errors
/// If the port cannot be bound, or the process has no free file descriptor.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let started = Instant::now();
    let gauge = Gauge::new();
    // First of all, so that a SIGTERM during the start ends the process as at any other time.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = tokio::time::sleep(options.start_delay) => {}
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    }

    let address = SocketAddr::from((options.address, options.port));
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    let builder = builder();
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    // A client that disappears before it is accepted is no error of the server.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                    Err(error) => return Err(error).context("cannot accept"),
                };
                // Responses are one write each: waiting to fill a packet could only delay them.
                stream.set_nodelay(true).ok();
                let gauge = gauge.clone();
                let service = service_fn(move |request| {
                    // The guard is created here, before the first await.
                    let in_flight = counted(&request).then(|| gauge.begin());
                    let gauge = gauge.clone();
                    async move {
                        Ok::<_, Infallible>(match in_flight {
                            Some(in_flight) => answer(request, in_flight).await,
                            None => stats(&gauge, started),
                        })
                    }
                });
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let connection = connections.watch(connection.into_owned());
                // Clients abort in tests by design: the end of a connection is not reported.
                tokio::spawn(async move { connection.await.ok() });
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
    Ok(())
}

/// Accepts HTTP/1.1, and HTTP/2 if the client begins with its preface.
fn builder() -> Builder<TokioExecutor> {
    /// RFC 9113, 6.5.2: the largest frame and the widest window, and no limit that a test would reach first. The tests
    /// examine the counting, not the server's limits.
    const LARGEST_FRAME: u32 = (1 << 24) - 1;
    const WIDEST_WINDOW: u32 = (1 << 31) - 1;
    /// More than the number of streams that any test resets.
    const MOST_RESETS: usize = 1_000_000;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_frame_size(LARGEST_FRAME)
        .initial_stream_window_size(WIDEST_WINDOW)
        .initial_connection_window_size(WIDEST_WINDOW)
        .max_concurrent_streams(None)
        .max_pending_accept_reset_streams(MOST_RESETS)
        .max_local_error_reset_streams(None);
    builder
}

fn counted(request: &Request<Incoming>) -> bool {
    request.uri().path() != "/stats"
}

async fn answer(request: Request<Incoming>, in_flight: InFlight) -> Response<Reply> {
    let ask = match Ask::parse(request.uri().query().unwrap_or_default()) {
        Ok(ask) => ask,
        Err(why) => return text(StatusCode::BAD_REQUEST, "text/plain", why),
    };
    // The response follows the complete request, as with most servers. Reading the body also makes hyper send `100
    // Continue` to a client that waits for it.
    let mut body = request.into_body();
    while let Some(piece) = http_body_util::BodyExt::frame(&mut body).await {
        if piece.is_err() {
            return text(
                StatusCode::BAD_REQUEST,
                "text/plain",
                "body: cut off\n".into(),
            );
        }
    }
    burn(ask.burn);
    if !ask.sleep.is_zero() {
        tokio::time::sleep(ask.sleep).await;
    }
    let mut response = Response::new(Reply::Left(Answer::new(
        ask.bytes,
        !ask.chunked,
        ask.drip,
        in_flight,
    )));
    *response.status_mut() = ask.status;
    response
}

fn stats(gauge: &Gauge, started: Instant) -> Response<Reply> {
    match serde_json::to_string(&gauge.stats(started)) {
        Ok(json) => text(StatusCode::OK, "application/json", json),
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            error.to_string(),
        ),
    }
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Reply> {
    let mut response = Response::new(Reply::Right(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
