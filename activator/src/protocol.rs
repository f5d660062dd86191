//! Which HTTP a client or a backend speaks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::socket::Socket;

/// What the client says first (RFC 9113 section 3.4), followed by settings.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Settings that ask for nothing: no payload, type 4, no flags, stream 0.
pub(crate) const SETTINGS: &[u8; 9] = &[0, 0, 0, SETTINGS_TYPE, 0, 0, 0, 0, 0];
const SETTINGS_TYPE: u8 = 4;

/// A server that speaks HTTP/2 says so with its own first frame, at once; one that does not says
/// something else, or closes. One that says nothing for so long is taken for the second.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// How often a client that has sent a part of HTTP/2's first words is looked at: there is no event for
/// more to come.
const LOOK: Duration = Duration::from_millis(5);

/// Which HTTP the backends of a pool speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What the client speaks. A backend is asked once whether it speaks HTTP/2 too, when the first
    /// client that does comes to it; where it does not, it gets HTTP/1.1.
    #[default]
    Detect,
    /// HTTP/1.1, whatever the client speaks.
    Http1,
    /// HTTP/2 without TLS and with prior knowledge (`kubernetes.io/h2c`), whatever the client speaks.
    /// Upgrades, which HTTP/2 does not have, are asked for with HTTP/1.1 all the same.
    Http2,
}

/// Asks a server whether it speaks HTTP/2.
pub(crate) async fn speaks_http2(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&[&PREFACE[..], SETTINGS].concat()).await?;
    let mut head = [0; SETTINGS.len()];
    let read = timeout(ANSWERS_WITHIN, stream.read_exact(&mut head)).await;
    Ok(matches!(read, Ok(Ok(_))) && head[3] == SETTINGS_TYPE && head[5..] == [0; 4])
}

/// Whether a client begins as HTTP/2 does. Resolves when it has sent enough to tell; what it has said stays to be read.
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
