//! A TCP stream whose peer state can be queried while hyper owns the stream.
//!
//! hyper learns that a peer has closed a connection only when hyper reads from it. While a request is queued, hyper
//! does not read, because no code asks for the body. On a busy machine, hyper also reads late between two requests on
//! an idle connection. The queries in this module ask the kernel and bypass hyper's buffers.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::acked::acked;

/// Interval of checking whether a client has closed while the body of its request is unread. The close alone causes no
/// event: with unread data the socket is readable all the time.
const LOOK: Duration = Duration::from_secs(1);

/// First and longest interval of checking whether the peer has acknowledged written bytes. The kernel sends no event
/// for an acknowledgement.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(50);

/// A TCP stream. Clones share the same stream.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stream: TcpStream,
    /// True if bytes were read since the last write.
    read_since_write: AtomicBool,
    /// Number of bytes written to the stream.
    written: AtomicU64,
    /// Notified when the first byte is written.
    begun: Notify,
    /// Number of written bytes that the peer had acknowledged when it closed its side. Before the peer closes its side,
    /// [`NOT_ENDED`].
    taken_at_end: AtomicU64,
}

const NOT_ENDED: u64 = u64::MAX;

/// Limits for reading from a client whose request was refused, in time and in bytes. If a connection is closed with
/// unread bytes, the kernel sends a reset, which can overtake the response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Socket {
            inner: Arc::new(Inner {
                stream,
                read_since_write: AtomicBool::new(false),
                written: AtomicU64::new(0),
                begun: Notify::new(),
                taken_at_end: AtomicU64::new(NOT_ENDED),
            }),
        }
    }

    /// Returns whether the peer has closed, or has sent bytes that answer no request. In both cases the connection
    /// cannot be used for a request.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.inner.stream).peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Returns whether the peer has sent bytes that are not read yet.
    pub(crate) fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        matches!(SockRef::from(&self.inner.stream).peek(&mut byte), Ok(1..))
    }

    /// Copies the first unread bytes and leaves them unread. Returns 0 if the peer has closed.
    pub(crate) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.stream.peek(buffer).await
    }

    /// Resolves when the peer has closed its side, even if bytes from it are still unread.
    pub(crate) async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.inner.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Returns whether the peer has sent bytes after the last write. These bytes belong to a request that has no
    /// response yet.
    pub(crate) fn is_mid_request(&self) -> bool {
        self.inner.read_since_write.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes written to the stream.
    pub(crate) fn written(&self) -> u64 {
        self.inner.written.load(Ordering::Relaxed)
    }

    /// Resolves when the peer has acknowledged at least one written byte. Never resolves if no byte is written, or if
    /// the kernel does not report acknowledgements. Only one task may wait for it.
    pub(crate) async fn is_taken(&self) {
        self.inner.begun.notified().await;
        // On one host, the peer's acknowledgement has arrived before this loop checks for it. Between hosts, an
        // acknowledgement takes a round trip.
        let mut pause = SOON;
        while !matches!(acked(&self.inner.stream), Ok(1..)) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LATER);
        }
    }

    /// Returns whether the peer closed its side before it had acknowledged any byte after the first `mark` written
    /// bytes. If so, the peer's program has not seen any of these later bytes.
    ///
    /// A FIN carries the number of the next byte that the peer expects (RFC 9293 section 3.10.7.4). A reset proves
    /// nothing, so the result is false after a reset.
    pub(crate) fn ended_before(&self, mark: u64) -> bool {
        let taken = self.inner.taken_at_end.load(Ordering::Relaxed);
        taken != NOT_ENDED && taken <= mark
    }

    fn note_end(&self) {
        if self.inner.taken_at_end.load(Ordering::Relaxed) == NOT_ENDED
            && let Ok(taken) = acked(&self.inner.stream)
        {
            self.inner.taken_at_end.store(taken, Ordering::Relaxed);
        }
    }

    /// Shuts down the sending side, then reads and discards the peer's bytes, within the limits of [`LINGER`].
    pub(crate) async fn linger(&self) {
        if SockRef::from(&self.inner.stream)
            .shutdown(Shutdown::Write)
            .is_err()
        {
            return;
        }
        let mut socket = self.clone();
        let rest = async {
            let (mut buffer, mut read) = ([0; 4096], 0);
            while let Ok(count @ 1..) = socket.read(&mut buffer).await {
                read += count;
                if read > LINGER_BYTES {
                    break;
                }
            }
        };
        // It does not matter whether the peer closed within the time limit: the connection is closed now in any case.
        let _over = tokio::time::timeout(LINGER, rest).await;
    }

    /// Sends final bytes directly to the socket, and not through hyper. Bytes that do not fit into the socket's buffer
    /// are lost.
    pub(crate) fn last_word(&self, bytes: &[u8]) {
        // An error is ignored, because the connection is closed after this.
        let _unheard = self.inner.stream.try_write(bytes);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &self.inner;
        loop {
            ready!(inner.stream.poll_read_ready(cx))?;
            match self.try_read(buffer) {
                Ok(count) => {
                    if count > 0 {
                        inner.read_since_write.store(true, Ordering::Relaxed);
                    } else {
                        self.note_end();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Socket {
    /// Reads the available bytes. Like tokio's own streams, it assumes that a read that did not fill the buffer has
    /// emptied the socket. After such a read it returns `WouldBlock` to tokio. So tokio waits for the next event, which
    /// saves a read that returns no bytes.
    fn try_read(&self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        let stream = &self.inner.stream;
        let room = buffer.remaining();
        let mut read = None;
        let result = stream.try_io(Interest::READABLE, || {
            let count = stream.try_read_buf(buffer)?;
            read = Some(count);
            if (1..room).contains(&count) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(())
        });
        match read {
            Some(count) => Ok(count),
            None => Err(result.err().unwrap_or(io::ErrorKind::WouldBlock.into())),
        }
    }
}

impl Socket {
    fn poll_try_write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let inner = &self.inner;
        loop {
            ready!(inner.stream.poll_write_ready(cx))?;
            match write(&inner.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    inner.read_since_write.store(false, Ordering::Relaxed);
                    if inner.written.fetch_add(count as u64, Ordering::Relaxed) == 0 {
                        inner.begun.notify_one();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) => {
                    // EPIPE: the peer has closed its side and refused further bytes. So the number of acknowledged
                    // bytes is final.
                    if error.kind() == io::ErrorKind::BrokenPipe {
                        self.note_end();
                    }
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_try_write(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            // For one slice, a plain write is the cheaper call.
            [bytes] => self.poll_try_write(cx, |stream| stream.try_write(bytes)),
            _ => self.poll_try_write(cx, |stream| stream.try_write_vectored(slices)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing, because this type has no buffer.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.inner.stream).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (
            Socket::new(client.expect("open")),
            server.expect("accepted").0,
        )
    }

    #[tokio::test]
    async fn an_end_that_came_before_a_request_has_not_seen_it() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"first").await.expect("open");
        server.read_exact(&mut [0; 5]).await.expect("sent");
        let mark = client.written();
        assert!(
            !client.ended_before(mark),
            "the peer has not closed the connection yet"
        );
        drop(server);
        let mut first = [0];
        assert_eq!(client.peek(&mut first).await.expect("an end"), 0);
        client
            .write_all(b"second")
            .await
            .expect("the first write after the peer's close succeeds");
        assert_eq!(client.read(&mut first).await.expect("an end"), 0);
        assert!(client.ended_before(mark));
    }

    #[tokio::test]
    async fn one_that_came_after_may_have() {
        let (mut client, mut server) = pair().await;
        let mark = client.written();
        client.write_all(b"request").await.expect("open");
        server.read_exact(&mut [0; 7]).await.expect("sent");
        drop(server);
        assert_eq!(client.read(&mut [0]).await.expect("an end"), 0);
        assert!(!client.ended_before(mark));
    }
}
