//! The response to a connection that is refused because there is no memory for it.
//!
//! The response uses the client's protocol: an HTTP/2 client would read HTTP/1 text as an invalid frame and report a
//! fault of the server. The proxy reads no request of the client, so no request has begun.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::counts::Reason;
use crate::pool::Pool;
use crate::protocol::{SETTINGS, begins_as_http2};
use crate::socket::Socket;

/// The response to an HTTP/1 connection for which the memory budget has no room. If the budget has room for a
/// connection but not for its request, the response is [`Refusal::BytesFull`](crate::refusal::Refusal::BytesFull), with
/// the same status.
const HTTP1: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    connection: close\r\n\
    retry-after: 1\r\n\
    content-length: 94\r\n\
    content-type: text/plain; charset=utf-8\r\n\r\n\
    ebb: the connections of this namespace use all the memory that they may use; try again in 1 s\n";

/// The first bytes of a GOAWAY frame (RFC 9113 section 6.8). The frame header has 9 bytes and gives a payload of 101
/// bytes: 8 bytes here and 93 bytes of debug data. The number of the last processed stream is 0: no request has begun,
/// so a client may send every request again on another connection. The error code is `ENHANCE_YOUR_CALM`.
const GOAWAY: &[u8; 17] = &[0, 0, 101, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11];
/// The debug data of the GOAWAY frame, which clients show to users.
const GOAWAY_TEXT: &[u8; 93] =
    b"ebb: the connections of this namespace use all the memory that they may use; try again in 1 s";

/// How long to wait for the first bytes of a client, from which its protocol is detected.
const SPEAKS_WITHIN: Duration = Duration::from_secs(1);

/// Sends the response in the client's protocol, and closes the connection.
pub(crate) async fn reject_connection(stream: TcpStream, pool: &Pool) {
    pool.counters().refused(Reason::BytesFull);
    let socket = Socket::new(stream);
    match timeout(SPEAKS_WITHIN, begins_as_http2(&socket)).await {
        Ok(true) => socket.last_word(&[&SETTINGS[..], GOAWAY, GOAWAY_TEXT].concat()),
        Ok(false) | Err(_) => socket.last_word(HTTP1),
    }
    Box::pin(socket.linger()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t11_the_answers_have_the_lengths_that_they_say() {
        let text = std::str::from_utf8(HTTP1).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        let length = format!("content-length: {}\r\n", body.len());
        assert!(head.contains(&length), "{length}");
        assert_eq!(usize::from(GOAWAY[2]), 8 + GOAWAY_TEXT.len());
    }
}
