//! The bodies of requests to the API server and of its answers. Answers have time limits.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tower::BoxError;

use super::pools::PendingRequest;
use crate::leadership::Permit;

/// The answer of the API server was not complete within the time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the API server within {} ms", .0.as_millis())]
pub(crate) struct NoAnswer(pub(crate) Duration);

/// The body of a request. hyper reads the body when it has a connection and is about to send the request, possibly long
/// after hyper received the request. So the leader's permit is checked when the body is read.
#[derive(Debug)]
pub(super) struct CheckedBody {
    body: kube::client::Body,
    permit: Option<Arc<Permit>>,
}

impl CheckedBody {
    pub(super) fn new(body: kube::client::Body, permit: Option<Arc<Permit>>) -> Self {
        Self { body, permit }
    }
}

impl Body for CheckedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(Err(error)) = self.permit.as_ref().map(|permit| permit.check()) {
            return Poll::Ready(Some(Err(error.into())));
        }
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, with its time limits.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Incoming,
    waiting: PendingRequest,
    limit: Option<Limit>,
    /// The permit of the write. It is dropped together with this body of the answer. Until then, the write counts as
    /// under way.
    _permit: Option<Arc<Permit>>,
}

/// Time limits of an answer.
#[derive(Debug)]
struct Limit {
    /// Time limit for the next piece of the body.
    piece: Duration,
    /// Time at which the whole answer must be complete.
    until: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl ResponseBody {
    /// Creates the body of an answer. `within` is (time limit for the next piece, time limit for the whole answer);
    /// `None` for a watch: the reader of a watch has its own limit.
    pub(super) fn new(
        body: Incoming,
        mut waiting: PendingRequest,
        within: Option<(Duration, Duration)>,
        permit: Option<Arc<Permit>>,
    ) -> Self {
        waiting.progressed();
        if body.is_end_stream() {
            waiting.over();
        }
        let now = Instant::now();
        Self {
            body,
            waiting,
            limit: within.map(|(piece, whole)| Limit {
                piece,
                until: now + whole,
                alarm: Box::pin(sleep_until(now + piece.min(whole))),
            }),
            _permit: permit,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let limit = this.limit.as_mut();
                return match limit.map(|limit| (limit.piece, limit.alarm.as_mut().poll(context))) {
                    Some((piece, Poll::Ready(()))) => {
                        Poll::Ready(Some(Err(NoAnswer(piece).into())))
                    }
                    _ => Poll::Pending,
                };
            }
        };
        this.waiting.progressed();
        if !matches!(frame, Some(Ok(_))) || this.body.is_end_stream() {
            this.waiting.over();
        }
        if let Some(limit) = &mut this.limit {
            let next = (Instant::now() + limit.piece).min(limit.until);
            limit.alarm.as_mut().reset(next);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
