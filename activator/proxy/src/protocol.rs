//! Detection of the HTTP version that a client or a backend speaks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::socket::Socket;

/// The connection preface of an HTTP/2 client (RFC 9113 section 3.4); a SETTINGS frame follows it.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame: no payload, type 4, no flags, stream 0.
pub(crate) const SETTINGS: &[u8; 9] = &[0, 0, 0, SETTINGS_TYPE, 0, 0, 0, 0, 0];
const SETTINGS_TYPE: u8 = 4;

/// How long to wait for a server's first frame. A server that speaks HTTP/2 sends SETTINGS at once. Any other server
/// sends something else or closes the connection. A server that sends nothing in this time counts as HTTP/1.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Interval of checking a client that has sent only a part of the HTTP/2 preface. There is no event for further bytes
/// while the first bytes are unread.
const LOOK: Duration = Duration::from_millis(5);

/// The HTTP version that the backends of a pool speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Each backend gets the HTTP version that the client uses. At the first HTTP/2 request for a backend, the proxy
    /// checks once whether the backend speaks HTTP/2. If it does not, the backend gets HTTP/1.1.
    #[default]
    Detect,
    /// HTTP/1.1, whatever the client speaks.
    Http1,
    /// HTTP/2 without TLS and with prior knowledge (`kubernetes.io/h2c`), whatever the client speaks. Upgrades use
    /// HTTP/1.1, because HTTP/2 does not have them.
    Http2,
}

/// Checks whether a server speaks HTTP/2.
pub(crate) async fn speaks_http2(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&[&PREFACE[..], SETTINGS].concat()).await?;
    let mut head = [0; SETTINGS.len()];
    let read = timeout(ANSWERS_WITHIN, stream.read_exact(&mut head)).await;
    Ok(matches!(read, Ok(Ok(_))) && head[3] == SETTINGS_TYPE && head[5..] == [0; 4])
}

/// Resolves when a client has sent enough bytes to decide whether it speaks HTTP/2. The bytes stay unread.
pub(crate) async fn begins_as_http2(socket: &Socket) -> bool {
    let mut first = [0; PREFACE.len()];
    loop {
        match socket.peek(&mut first).await {
            Ok(count @ 1..) if PREFACE.starts_with(&first[..count]) => {
                if count == PREFACE.len() {
                    return true;
                }
            }
            _ => return false,
        }
        sleep(LOOK).await;
    }
}
