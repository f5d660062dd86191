//! The responses that the proxy generates itself. Each has a status, and one line of text with the reason and the
//! limit.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode, Version};
use thiserror::Error;

use crate::body::Answer;
use crate::counts::Reason;
use crate::guard::Flaw;

/// Seconds after which a client may retry a request that was answered with 503. In 1 s a replica of a small service
/// starts and empties the queue.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Reasons why the proxy answers a request itself.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("bad request: {0}")]
    Malformed(Flaw),
    #[error("bad request: host is given {count} times; it must be given exactly once")]
    Host { count: usize },
    #[error("bad request: host {0:?} is not a host name with an optional port")]
    Authority(String),
    #[error("method CONNECT is not supported; all other methods are allowed")]
    Connect,
    #[error("the body of the request was aborted")]
    BodyBrokeOff,
    #[error("{max_queued} requests are queued already, no more are allowed; try again in 1 s")]
    QueueFull { max_queued: usize },
    #[error(
        "the requests of this namespace use all the memory that they may use; try again in 1 s (the limit: --queue-bytes of \
         ebb-activator)"
    )]
    BytesFull,
    #[error("nothing was ready to serve the request within {limit:?}")]
    WaitedTooLong { limit: Duration },
    #[error("the activator is stopping; the request was not sent to a server")]
    Stopping,
    #[error("the server aborted the connection before it answered; it may have begun the request")]
    BrokeOff,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Malformed(Flaw::TooManyFields | Flaw::TooLong(_)) => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            // 501 is the status for an unknown transfer coding (RFC 9112 section 6.1) and for an unsupported method
            // (RFC 9110 section 9.1).
            Refusal::Malformed(Flaw::UnknownCoding) | Refusal::Connect => {
                StatusCode::NOT_IMPLEMENTED
            }
            Refusal::Malformed(_)
            | Refusal::Host { .. }
            | Refusal::Authority(_)
            | Refusal::BodyBrokeOff => StatusCode::BAD_REQUEST,
            Refusal::QueueFull { .. } | Refusal::BytesFull | Refusal::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Refusal::WaitedTooLong { .. } => StatusCode::GATEWAY_TIMEOUT,
            Refusal::BrokeOff => StatusCode::BAD_GATEWAY,
        }
    }

    /// Returns the reason under which the refusal is counted.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Refusal::Malformed(Flaw::TooManyFields | Flaw::TooLong(_)) => Reason::HeaderTooLarge,
            Refusal::BytesFull => Reason::BytesFull,
            Refusal::Malformed(_) | Refusal::Host { .. } | Refusal::Authority(_) => {
                Reason::Malformed
            }
            Refusal::Connect => Reason::Unsupported,
            Refusal::BodyBrokeOff => Reason::BodyBrokeOff,
            Refusal::QueueFull { .. } => Reason::QueueFull,
            Refusal::WaitedTooLong { .. } => Reason::WaitedTooLong,
            Refusal::Stopping => Reason::Stopping,
            Refusal::BrokeOff => Reason::BrokeOff,
        }
    }

    pub(crate) fn into_response(self, version: Version) -> Response<Answer> {
        let status = self.status();
        let text = format!("ebb: {self}\n");
        let mut response = Response::new(Answer::Own(Full::new(Bytes::from(text))));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        let senseless = status == StatusCode::BAD_REQUEST
            || matches!(self, Refusal::Malformed(_) | Refusal::Connect);
        let ends = senseless || matches!(self, Refusal::BytesFull);
        if ends && version < Version::HTTP_2 {
            // The connection is closed. After an invalid request, the following bytes cannot be interpreted. After a
            // refusal for lack of memory (`BytesFull`), the close frees the buffers of the connection.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
