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

/// Time limit for a whole exchange; every exchange in these checks is shorter.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// Runs a future to its end on the current thread. Panics after [`ENDS_WITHIN`].
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            timeout(ENDS_WITHIN, work)
                .await
                .expect("the exchange takes too long")
        })
}

/// One connection. The connection closes when the last clone of this handle is dropped.
#[derive(Clone)]
pub(super) struct Http2 {
    handle: SendRequest<Bytes>,
    authority: SocketAddr,
}

/// A response whose header section has been received, and whose body may still be arriving.
pub(super) type ResponseHead = Response<RecvStream>;

impl Http2 {
    pub(super) async fn connect(to: SocketAddr) -> Self {
        Self::over(tcp(to).await, to).await
    }

    /// Opens a connection on which each byte is sent in a separate packet.
    pub(super) async fn connect_by_bytes(to: SocketAddr) -> Self {
        Self::over(ByBytes(tcp(to).await), to).await
    }

    async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        to: SocketAddr,
    ) -> Self {
        let handshake = Builder::new()
            // The connection window is large, so that no stream has to wait until the body of another stream is read.
            .initial_connection_window_size(1 << 24)
            .handshake(io);
        let (handle, connection) = handshake.await.expect("a handshake of HTTP/2");
        // The result of the connection task is ignored, because each stream reports how its connection ended.
        tokio::spawn(async { connection.await.ok() });
        Self {
            handle,
            authority: to,
        }
    }

    /// Sends a request whose body consists of `pieces`, and waits for the header section of the response.
    pub(super) async fn begin(&self, path: &str, pieces: &[Bytes]) -> ResponseHead {
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

/// A connection that writes one byte at a time.
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
