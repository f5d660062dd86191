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
use crate::unread::OpenRequest;

/// Maximum number of bytes of a request body that are kept until the response arrives. They are sent again if the
/// backend has closed the idle connection that was used. The proxy usually notices this before it has sent more than
/// the first read of the body.
const REPLAY_LIMIT: usize = 64 * 1024;

/// How long to wait until hyper returns the request body of an aborted connection. Usually hyper returns the body
/// immediately; on a busy machine it can be later.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(1);

/// A request body that streams to a backend: the client's body, or an empty body.
#[derive(Debug)]
pub(crate) struct ReplayableBody {
    /// Data that an earlier, failed attempt has already sent. It is sent again, before the rest of the body.
    again: VecDeque<Bytes>,
    body: Option<Incoming>,
    /// Counts the bytes of an HTTP/2 body that have not been read yet. `None` for HTTP/1.
    unread: Option<OpenRequest>,
    /// The data kept for another attempt. Boxed, because a request is moved often and few requests have a body.
    replay: Option<Box<ReplayBuffer>>,
}

#[derive(Debug)]
struct ReplayBuffer {
    sent: VecDeque<Bytes>,
    size: usize,
    /// The charge for `size` bytes. `None` if the memory budget was exhausted.
    memory: Option<Charge>,
    back: oneshot::Sender<ReplayableBody>,
}

/// Receives the request's body back after a failed attempt to send the request.
#[derive(Debug)]
pub(crate) struct ReturnedBody(oneshot::Receiver<ReplayableBody>);

impl ReturnedBody {
    /// Resolves to the whole body, as it was before the failed attempt. `None` if the attempt sent more bytes than the
    /// proxy keeps.
    pub(crate) async fn body(self) -> Option<ReplayableBody> {
        timeout(GIVEN_UP_WITHIN, self.0).await.ok()?.ok()
    }
}

impl ReplayableBody {
    pub(crate) fn new(body: Incoming, unread: Option<OpenRequest>) -> Self {
        ReplayableBody {
            again: VecDeque::new(),
            body: Some(body),
            unread,
            replay: None,
        }
    }

    pub(crate) fn none() -> Self {
        ReplayableBody {
            again: VecDeque::new(),
            body: None,
            unread: None,
            replay: None,
        }
    }

    /// Keeps a copy of all data that is sent from now on, as long as the memory budget has room for it. If the attempt
    /// to send the request fails, the returned value yields the whole body again.
    pub(crate) fn keep(&mut self, memory: &Account) -> ReturnedBody {
        let (back, returned) = oneshot::channel();
        self.replay = Some(Box::new(ReplayBuffer {
            sent: VecDeque::new(),
            size: 0,
            memory: memory.take(0),
            back,
        }));
        ReturnedBody(returned)
    }
}

impl ReplayBuffer {
    /// Keeps one frame. Returns `None` if the data exceeds [`REPLAY_LIMIT`] or the memory budget, or if the frame has
    /// trailers, which end the body. In these cases the body cannot be sent again.
    fn note(mut self: Box<Self>, frame: &Frame<Bytes>) -> Option<Box<Self>> {
        let data = frame.data_ref()?;
        self.size += data.len();
        self.sent.push_back(data.clone());
        let has_memory = self.memory.as_mut()?.set(self.size);
        (self.size <= REPLAY_LIMIT && has_memory).then_some(self)
    }
}

impl Drop for ReplayableBody {
    fn drop(&mut self) {
        if let Some(replay) = self.replay.take() {
            let ReplayBuffer { mut sent, back, .. } = *replay;
            sent.append(&mut self.again);
            // An error means that the receiver is gone, because the request was answered.
            let _answered = back.send(ReplayableBody {
                again: sent,
                body: self.body.take(),
                unread: self.unread.take(),
                replay: None,
            });
        }
    }
}

impl Body for ReplayableBody {
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
            this.replay = this.replay.take().and_then(|replay| replay.note(frame));
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
