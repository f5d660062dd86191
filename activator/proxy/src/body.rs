//! The body of a response on its way to the client. At the end of the body, the connection to the backend and the
//! permit of the request are released.

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

/// The connection to the backend and the permit of a request whose response is being sent.
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

    /// Returns the permit and drops the connection, because after an upgrade the connection carries no HTTP.
    pub(crate) fn into_permit(mut self) -> Option<Permit> {
        self.0.take().map(|(_, permit)| permit)
    }
}

impl Answer {
    pub(crate) fn from_backend(body: Incoming, mut exchange: Exchange) -> Self {
        // The connection to the backend is released here if the body is empty: hyper does not poll such a body, so
        // `poll_frame` would never release the connection.
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
