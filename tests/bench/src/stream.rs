//! One endless body, in either direction: the connection carries only packets of the body and bare acknowledgements.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::interrupt;

/// Body length: more than any machine moves in the time (a petabyte).
const ENDLESS: u64 = 1_000_000_000_000_000;

/// Bytes per read or write: large, so that the client is not the bottleneck.
const PIECE: usize = 256 * 1024;

/// A body that stops for this long is reported as stalled.
const STALLED: Duration = Duration::from_secs(10);

/// Direction of the body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// From the server, which receives acknowledgements.
    Down,
    /// To the server, which sends acknowledgements.
    Up,
}

/// Moves a body for a time, then aborts the connection.
///
/// # Errors
/// If the server does not answer or stalls, or if interrupted.
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
        if moved.context("a body without end stalls")? == 0 {
            bail!("a body without end has ended");
        }
    }
    Ok(())
}
