//! The body of a request on its way to a backend.
//!
//! The body streams. The bytes sent so far are kept while they are few, for a request that is sent again because its
//! backend has seen nothing of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::budget::{Account, Charge};
use crate::unread::Open;

/// Bytes of a body that are kept until there is a response. When an idle connection turns out to be closed, seldom more
/// than one read has been sent.
const KEPT: usize = 64 * 1024;

/// How long to wait for the body. An aborted connection gives the body of its request up at once; a busy machine needs
/// longer.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(1);

/// The client's body as it arrives, or an empty body.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Data that an earlier attempt has sent in vain; sent first.
    again: VecDeque<Bytes>,
    body: Option<Incoming>,
    /// Counts the bytes of an HTTP/2 body that are not read yet. `None` on HTTP/1.
    unread: Option<Open>,
    /// In a box: a request is moved often, and few requests have a body.
    kept: Option<Box<Kept>>,
}

#[derive(Debug)]
struct Kept {
    sent: VecDeque<Bytes>,
    size: usize,
    /// The charge for `size` bytes; `None` if the budget has no memory.
    memory: Option<Charge>,
    back: oneshot::Sender<Outgoing>,
}

/// Receives a body after an attempt that failed.
#[derive(Debug)]
pub(crate) struct Returns(oneshot::Receiver<Outgoing>);

impl Returns {
    /// Resolves to the whole body as it was before it was sent; `None` if too much was sent to keep it.
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

    /// Keeps the data that is sent from now on, as long as there is memory for it.
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
    /// Keeps one frame. Returns `None` if the data exceeds [`KEPT`] or the budget, or if the frame is trailers, which
    /// are last: then the body cannot be replayed.
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
            // An error means that there is no receiver any more: the request was answered.
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
