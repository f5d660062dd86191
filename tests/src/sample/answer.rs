//! The body of a response, which owns the request's in-flight guard.
//!
//! The guard is dropped when hyper drops the body: after hyper has taken the last piece, or when the connection is aborted.
//! That is within microseconds of the last byte's `write`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::gauge::InFlight;

/// Size of one piece: about the initial size of hyper's write buffer, so a piece is one write.
const PIECE: usize = 16 * 1024;
static DOTS: [u8; PIECE] = [b'.'; PIECE];

/// A body of `left` bytes in pieces of [`PIECE`], with a pause of `drip` between them.
pub(super) struct Answer {
    left: u64,
    sized: bool,
    drip: Option<(Duration, Pin<Box<Sleep>>)>,
    _in_flight: Option<InFlight>,
}

impl Answer {
    /// Creates a body of `bytes` bytes. Without `sized`, the header does not give the length.
    pub(super) fn new(bytes: u64, sized: bool, drip: Duration, in_flight: InFlight) -> Self {
        Self {
            left: bytes,
            sized,
            drip: (!drip.is_zero()).then(|| (drip, Box::pin(tokio::time::sleep(Duration::ZERO)))),
            _in_flight: Some(in_flight),
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some((rest, sleep)) = &mut self.drip {
            ready!(sleep.as_mut().poll(context));
            let next = Instant::now() + *rest;
            sleep.as_mut().reset(next);
        }
        let size = self.left.min(PIECE as u64);
        self.left -= size;
        let piece = Bytes::from_static(&DOTS[..size as usize]);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}
