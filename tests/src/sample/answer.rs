//! The body of an answer, which carries the request's place in the count.
//!
//! The guard is dropped when hyper lets go of the body: after it has taken the last piece, or
//! when the connection breaks. That is within microseconds of the last byte's `write`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::gauge::InFlight;

/// Size of one piece: hyper's own write buffer starts at this order, so a piece is one write.
const PIECE: usize = 16 * 1024;
static DOTS: [u8; PIECE] = [b'.'; PIECE];

/// `left` bytes in pieces of [`PIECE`], with a rest of `drip` between them.
pub(super) struct Answer {
    left: u64,
    sized: bool,
    drip: Option<(Duration, Pin<Box<Sleep>>)>,
    _in_flight: Option<InFlight>,
}

impl Answer {
    /// A body of `bytes` bytes; not `sized`: of a length the header does not give.
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
