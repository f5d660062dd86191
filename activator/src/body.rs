//! The body of an answer on its way to the client, and what its end sets free.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use crate::backend::Connection;
use crate::pool::Permit;

/// What goes to the client: the door's own text, or what the backend sends.
#[derive(Debug)]
pub(crate) enum Answer {
    Own(Full<Bytes>),
    Backend { body: Incoming, exchange: Exchange },
}

/// A request that is being answered: its connection and its permit.
///
/// At the response's end the connection is kept for the next request; dropped before, it is
/// closed, because the rest of the response is still on it.
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

    /// The permit alone: the connection has become something else.
    pub(crate) fn into_permit(mut self) -> Option<Permit> {
        self.0.take().map(|(_, permit)| permit)
    }
}

impl Answer {
    pub(crate) fn from_backend(body: Incoming, mut exchange: Exchange) -> Self {
        // hyper does not poll a body that says it has ended.
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
