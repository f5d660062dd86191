//! The body of a request on its way to a backend.
//!
//! The body streams. Its first bytes are kept, up to a limit: if the backend has seen no byte of the request, the
//! request is sent again, and needs the whole body.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::budget::{Account, Charge};
use crate::unread::Open;

/// Maximum number of bytes of a body that are kept until the response arrives. They are sent again if an idle
/// connection turns out to be closed. Before the proxy notices the closed connection, it has seldom sent more than one
/// read of the body.
const KEPT: usize = 64 * 1024;

/// How long to wait until hyper returns the body of an aborted connection. Usually hyper returns the body immediately;
/// on a busy machine it can be later.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(1);

/// A request body that streams to a backend: the client's body, or an empty body.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Data that an earlier attempt has already sent. It is sent first.
    again: VecDeque<Bytes>,
    body: Option<Incoming>,
    /// Counts the bytes of an HTTP/2 body that have not been read yet. `None` for HTTP/1.
    unread: Option<Open>,
    /// The data kept for another attempt. Boxed, because a request is moved often and few requests have a body.
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Kept {
    sent: VecDeque<Bytes>,
    size: usize,
    /// The charge for `size` bytes. `None` if the budget has no memory.
    memory: Option<Charge>,
    back: oneshot::Sender<Outgoing>,
}

/// Receives the request's body back after a failed attempt to send the request.
#[derive(Debug)]
pub(crate) struct Returns(oneshot::Receiver<Outgoing>);

impl Returns {
    /// Resolves to the whole body, as it was before the failed attempt. `None` if the attempt sent more bytes than are
    /// kept.
    pub(crate) async fn body(self) -> Option<Outgoing> {
        timeout(GIVEN_UP_WITHIN, self.0).await.ok()?.ok()
    }
}

impl Outgoing {
    pub(crate) fn new(body: Incoming, unread: Option<Open>) -> Self {
        Outgoing {
            again: VecDeque::new(),
            body: Some(body),
            unread,
            kept: None,
        }
    }

    pub(crate) fn none() -> Self {
        Outgoing {
            again: VecDeque::new(),
            body: None,
            unread: None,
            kept: None,
        }
    }

    /// Keeps all data that is sent after this call, as long as the budget has memory for it. The returned value
    /// receives the body back after a failed attempt.
    pub(crate) fn keep(&mut self, memory: &Account) -> Returns {
        let (back, returns) = oneshot::channel();
        self.kept = Some(Box::new(Kept {
            sent: VecDeque::new(),
            size: 0,
            memory: memory.take(0),
            back,
        }));
        Returns(returns)
    }
}

impl Kept {
    /// Keeps one frame. Returns `None` if the data exceeds [`KEPT`] or the budget, or if the frame has trailers, which
    /// end the body. In these cases the body cannot be sent again.
    fn note(mut self: Box<Self>, frame: &Frame<Bytes>) -> Option<Box<Self>> {
        let data = frame.data_ref()?;
        self.size += data.len();
        self.sent.push_back(data.clone());
        let has_memory = self.memory.as_mut()?.set(self.size);
        (self.size <= KEPT && has_memory).then_some(self)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(kept) = self.kept.take() {
            let Kept { mut sent, back, .. } = *kept;
            sent.append(&mut self.again);
            // An error means that the receiver is gone, because the request was answered.
            let _answered = back.send(Outgoing {
                again: sent,
                body: self.body.take(),
                unread: self.unread.take(),
                kept: None,
            });
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = match (this.again.pop_front(), &mut this.body) {
            (Some(bytes), _) => Some(Ok(Frame::data(bytes))),
            (None, Some(body)) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let (Some(Ok(frame)), Some(unread)) = (&frame, &this.unread) {
                    unread.read(frame.data_ref().map_or(0, Bytes::len));
                }
                frame
            }
            (None, None) => None,
        };
        if let Some(Ok(frame)) = &frame {
            this.kept = this.kept.take().and_then(|kept| kept.note(frame));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let again: u64 = self.again.iter().map(|bytes| bytes.len() as u64).sum();
        let rest = self
            .body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + again);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + again);
        }
        hint
    }
}
