//! Helpers of the tests: a running proxy (`TestProxy`), its clients, and backends (`Server`). All sockets are on
//! 127.0.0.1.
#![allow(dead_code, reason = "each test binary uses only some of these helpers")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test helper reports failures by panicking"
)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use ebb_proxy::{Limits, Pool, serve};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) type Reply = Response<BoxBody<Bytes, hyper::Error>>;

/// Time limit for every wait in these tests, also on a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future, and fails the test after [`PATIENCE`]. The failure names the place of the call.
#[track_caller]
pub(crate) fn soon<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, what).await {
            Ok(value) => value,
            Err(_) => panic!("the wait at {caller} did not end within {PATIENCE:?}"),
        }
    }
}

pub(crate) struct TestProxy {
    pub(crate) pool: Pool,
    pub(crate) address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl TestProxy {
    pub(crate) async fn open() -> TestProxy {
        TestProxy::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> TestProxy {
        let (listener, address) = listen().await;
        let pool = Pool::new(limits);
        let (shutdown, stop) = oneshot::channel();
        let serving = tokio::spawn({
            let pool = pool.clone();
            async move {
                let stop = async { drop(stop.await) };
                serve(listener, pool, stop)
                    .await
                    .expect("the listener is sound");
            }
        });
        TestProxy {
            pool,
            address,
            shutdown,
            serving,
        }
    }

    /// Stops the proxy. The returned task ends when the proxy has stopped.
    pub(crate) fn close(self) -> JoinHandle<()> {
        let _ = self.shutdown.send(());
        self.serving
    }

    /// Sends bytes on a new connection.
    pub(crate) async fn begin(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the proxy listens");
        stream
            .write_all(bytes.as_ref())
            .await
            .expect("the proxy reads");
        stream
    }

    /// Sends bytes on a new connection. Returns all bytes received until the connection is closed.
    pub(crate) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.begin(bytes).await;
        let mut answer = Vec::new();
        // The result is ignored, because a reset after the response is allowed.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends `GET path` on a new connection. Returns status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        split(&self.say(request).await)
    }

    /// Waits until this many requests are queued.
    pub(crate) async fn holds(&self, count: u64) {
        soon(until(|| self.pool.queued().now == count)).await;
    }
}

/// Polls a condition until it is true, because no event reports the change.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Splits one response without chunks into (status, body).
pub(crate) fn split(answer: &str) -> (u16, String) {
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (
        status.unwrap_or_else(|| panic!("no response: {answer:?}")),
        body.to_owned(),
    )
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(([127, 0, 0, 1], 0).into())
        .expect("a port is free");
    let listener = socket.listen(1024).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// A server. Dropping it stops the server and closes all its connections.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Starts an HTTP/1.1 server that answers each request with the result of `handler`.
    pub(crate) async fn http<H, F>(handler: H) -> Server
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        Server::raw(move |stream| {
            let handler = handler.clone();
            async move {
                let service = service_fn(move |request| {
                    let reply = handler(request);
                    async move { Ok::<_, Infallible>(reply.await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            }
        })
        .await
    }

    /// Starts a server that runs `handler` on each connection.
    pub(crate) async fn raw<H, F>(handler: H) -> Server
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (listener, address) = listen().await;
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(handler(stream));
            }
        });
        Server { address, task }
    }
}

pub(crate) fn text(text: impl Into<String>) -> Reply {
    let body = Full::new(Bytes::from(text.into()));
    Response::new(body.map_err(|never| match never {}).boxed())
}

/// Reads one request header, up to its empty line.
pub(crate) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads until the received bytes end with `end`.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        match soon(stream.read_u8()).await {
            Ok(byte) => read.push(byte),
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}
