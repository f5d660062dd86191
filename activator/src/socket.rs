//! A TCP stream that can still be asked about its other end while hyper owns it.
//!
//! hyper learns that a peer has gone only when it reads, and it does not read a body that nobody
//! asks for: neither while a request is held, nor between two requests on a kept connection on a
//! busy machine. The questions here go to the kernel, past hyper's buffers.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How soon a client is missed that leaves a request whose body is unread. There is no event for
/// it alone (data that is unread wakes a reader all the time), so it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// A handle of a stream; a clone is another handle of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stream: TcpStream,
    /// Something was read since the last write.
    heard: AtomicBool,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Socket {
            inner: Arc::new(Inner {
                stream,
                heard: AtomicBool::new(false),
            }),
        }
    }

    /// True when the peer has closed, or has sent what nobody asked for: either way it is no
    /// connection to send a request on.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.inner.stream).peek(&mut byte) {
            Ok(_) => true,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Resolves when the peer has shut down its side, whether or not all it sent has been read.
    pub(crate) async fn gone(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.inner.stream.ready(Interest::READABLE).await {
                Ok(ready) if !ready.is_read_closed() => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// The peer has begun to say something that was not answered.
    pub(crate) fn is_mid_request(&self) -> bool {
        self.inner.heard.load(Ordering::Relaxed)
    }

    /// Sends a last word, as far as the socket's buffer takes it, past whoever owns the stream.
    pub(crate) fn last_word(&self, bytes: &[u8]) {
        // The connection is given up: whether the peer still hears this is its own affair.
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
            match inner.stream.try_read_buf(buffer) {
                Ok(count) => {
                    if count > 0 {
                        inner.heard.store(true, Ordering::Relaxed);
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
                result => {
                    inner.heard.store(false, Ordering::Relaxed);
                    return Poll::Ready(result);
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
        self.poll_try_write(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is buffered above the socket.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&self.inner.stream).shutdown(Shutdown::Write))
    }
}
