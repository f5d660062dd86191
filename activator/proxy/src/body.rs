//! The body of a response on its way to the client. At its end, the connection and the permit are released.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use crate::backend::Connection;
use crate::pool::Permit;

/// A response body: the proxy's own text, or the backend's body.
#[derive(Debug)]
pub(crate) enum Answer {
    Own(Full<Bytes>),
    Backend { body: Incoming, exchange: Exchange },
}

/// A request whose response is being sent. It owns the request's connection and permit.
///
/// At the end of the response the connection is kept for the next request. If this value is dropped before the end, the
/// connection is closed, because it still carries the rest of the response.
#[derive(Debug)]
pub(crate) struct Exchange(Option<(Connection, Permit)>);

impl Exchange {
    pub(crate) fn new(connection: Connection, permit: Permit) -> Self {
        Exchange(Some((connection, permit)))
    }

    fn finish(&mut self) {
        if let Some((connection, permit)) = self.0.take() {
            permit.backend().keep(connection);
        }
    }

    /// Returns the permit and drops the connection, which carries another protocol from now on.
    pub(crate) fn into_permit(mut self) -> Option<Permit> {
        self.0.take().map(|(_, permit)| permit)
    }
}

impl Answer {
    pub(crate) fn from_backend(body: Incoming, mut exchange: Exchange) -> Self {
        // hyper does not poll a body that is already at its end.
        if body.is_end_stream() {
            exchange.finish();
        }
        Answer::Backend { body, exchange }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Answer::Own(text) => Pin::new(text)
                .poll_frame(cx)
                .map_err(|never: std::convert::Infallible| match never {}),
            Answer::Backend { body, exchange } => {
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                let ended = match &frame {
                    None => true,
                    Some(Ok(_)) => body.is_end_stream(),
                    Some(Err(_)) => false,
                };
                if ended {
                    exchange.finish();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Own(text) => text.is_end_stream(),
            Answer::Backend { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Own(text) => text.size_hint(),
            Answer::Backend { body, .. } => body.size_hint(),
        }
    }
}
