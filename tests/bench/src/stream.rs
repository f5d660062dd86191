//! One endless body, in either direction. The connection carries only packets of the body, and acknowledgements without
//! data.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::interrupt;

/// Length of the body, in bytes: a petabyte, more than any machine transfers during the measurement.
const ENDLESS: u64 = 1_000_000_000_000_000;

/// Size of a read or write, in bytes. It is large, so that the client does not limit the throughput.
const PIECE: usize = 256 * 1024;

/// Time after which a body that does not progress is reported as stalled.
const STALLED: Duration = Duration::from_secs(10);

/// The direction in which the body is transferred.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// The server sends the body to the client, and receives acknowledgements.
    Down,
    /// The client sends the body to the server. The server sends acknowledgements.
    Up,
}

/// Transfers a body for this time, and then aborts the connection.
///
/// # Errors
/// If the server does not answer or the body stalls, or if the measurement was interrupted.
pub(super) fn run(server: SocketAddr, way: Way, time: Duration) -> Result<()> {
    let mut stream = TcpStream::connect(server).context("no ebb-sample")?;
    stream.set_read_timeout(Some(STALLED))?;
    stream.set_write_timeout(Some(STALLED))?;
    let head = match way {
        Way::Down => format!("GET /?bytes={ENDLESS} HTTP/1.1\r\nHost: bench\r\n\r\n"),
        Way::Up => format!("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {ENDLESS}\r\n\r\n"),
    };
    stream.write_all(head.as_bytes())?;
    let mut piece = vec![b'.'; PIECE];
    let end = Instant::now() + time;
    while Instant::now() < end {
        interrupt::check()?;
        let moved = match way {
            Way::Down => stream.read(&mut piece),
            Way::Up => stream.write(&piece),
        };
        if moved.context("the endless body has stalled")? == 0 {
            bail!("the endless body has ended");
        }
    }
    Ok(())
}
