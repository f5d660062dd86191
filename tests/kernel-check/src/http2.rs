//! An HTTP/2 client with prior knowledge.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use hyper::{Request, Response, body::Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

/// Limit for an exchange, longer than any exchange here takes.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Runs a future on one thread, as everything here.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async { timeout(ENDS_WITHIN, work).await.expect("it does not end") })
}

/// One connection. Its driver task, and so the connection, ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Http2 {
    handle: SendRequest<Bytes>,
    authority: SocketAddr,
}

/// A response whose head has been received.
pub(super) type Begun = Response<RecvStream>;

impl Http2 {
    pub(super) async fn connect(to: SocketAddr) -> Self {
        Self::over(tcp(to).await, to).await
    }

    /// Connects; each byte sent is a packet of its own.
    pub(super) async fn connect_by_bytes(to: SocketAddr) -> Self {
        Self::over(ByBytes(tcp(to).await), to).await
    }

    async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        to: SocketAddr,
    ) -> Self {
        let handshake = Builder::new()
            // A large window, so that no stream waits until another's body is read.
            .initial_connection_window_size(1 << 24)
            .handshake(io);
        let (handle, connection) = handshake.await.expect("a handshake of HTTP/2");
        // The streams report how a connection ends.
        tokio::spawn(async { connection.await.ok() });
        Self {
            handle,
            authority: to,
        }
    }

    /// Sends a request with its body in pieces, and waits for the head of the response.
    pub(super) async fn begin(&self, path: &str, pieces: &[Bytes]) -> Begun {
        let uri = format!("http://{}{path}", self.authority);
        let method = if pieces.is_empty() { "GET" } else { "POST" };
        let request = Request::builder().method(method).uri(uri).body(());
        let mut handle = self.handle.clone().ready().await.expect("a connection");
        let (response, mut body) = handle
            .send_request(request.expect("a request"), pieces.is_empty())
            .expect("a stream");
        for (number, piece) in pieces.iter().enumerate() {
            let last = number + 1 == pieces.len();
            body.send_data(piece.clone(), last).expect("a body");
        }
        response.await.expect("a response")
    }

    /// Sends a request and waits for the end of the response. Returns the length of the body.
    pub(super) async fn fetch(&self, path: &str, pieces: &[Bytes]) -> usize {
        let response = self.begin(path, pieces).await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.expect("a body");
            body.flow_control()
                .release_capacity(piece.len())
                .expect("a window");
            length += piece.len();
        }
        length
    }
}

async fn tcp(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to)
        .await
        .unwrap_or_else(|error| panic!("{to}: {error}"));
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

/// A connection that is written byte by byte.
struct ByBytes(TcpStream);

impl AsyncWrite for ByBytes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let first = bytes.len().min(1);
        Pin::new(&mut self.0).poll_write(context, &bytes[..first])
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl AsyncRead for ByBytes {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}
