//! Memory accounting for unread HTTP/2 request bodies: while a request is queued, hyper buffers its body.
//!
//! HTTP/1 bodies stay in the kernel until they are read. For HTTP/2, hyper reads as many bytes as the flow-control
//! windows allow a client to send, up to 1 MiB per connection. So this module parses the frames as they arrive, and
//! charges DATA until it is read. Beyond the budget, no more bytes are read from the connection.
//!
//! Failure mode: if a client cancels a request, its unread bytes remain charged until the connection has no open
//! request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::budget::Charge;
use crate::protocol::PREFACE;

/// Interval of checking whether the budget has room again, while no bytes are read from a connection.
const AGAIN: Duration = Duration::from_millis(20);

/// Length of an HTTP/2 frame header in bytes (RFC 9113 section 4.1).
const FRAME_HEADER: usize = 9;
/// The frame type DATA (RFC 9113 section 6.1).
const DATA: u8 = 0;

/// The unread bytes of one connection. Clones share the same count.
#[derive(Clone, Debug)]
pub(crate) struct UnreadBytes(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    charge: Charge,
    /// Bytes of memory used for the connection itself.
    fixed: usize,
    bytes: usize,
    /// Number of open requests whose bodies may be unread.
    open: usize,
}

impl UnreadBytes {
    /// Starts the accounting. `charge` already covers the `fixed` bytes of the connection itself.
    pub(crate) fn new(charge: Charge, fixed: usize) -> Self {
        UnreadBytes(Arc::new(Mutex::new(State {
            charge,
            fixed,
            bytes: 0,
            open: 0,
        })))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        let bytes = state.fixed + state.bytes;
        state.charge.force(bytes);
        result
    }

    /// Records that `bytes` of a body have been read.
    pub(crate) fn read(&self, bytes: usize) {
        self.change(|state| state.bytes = state.bytes.saturating_sub(bytes));
    }

    /// Records a new request with a body. The request is open until the returned value is dropped.
    pub(crate) fn begin(&self) -> OpenRequest {
        self.change(|state| state.open += 1);
        OpenRequest(self.clone())
    }

    fn arrived(&self, bytes: usize) {
        self.change(|state| match state.open {
            // No request is open, so the new bytes belong to a request that is just arriving, or to a refused request.
            // All earlier bytes belong to requests that are over or were refused, and are no longer in memory. So only
            // the new bytes count.
            0 => state.bytes = bytes,
            _ => state.bytes += bytes,
        });
    }

    /// Returns whether more bytes may be read. Always true for a connection without unread bytes or without open
    /// requests.
    fn has_room(&self) -> bool {
        self.change(|state| state.open == 0 || state.bytes == 0 || state.charge.has_room())
    }
}

/// An open request with a body. Must be dropped when its body will not be read any more.
#[derive(Debug)]
pub(crate) struct OpenRequest(UnreadBytes);

impl OpenRequest {
    /// Records that `bytes` of the body have been read.
    pub(crate) fn read(&self, bytes: usize) {
        self.0.read(bytes);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.open -= 1;
            if state.open == 0 {
                state.bytes = 0;
            }
        });
    }
}

/// The reading side of a connection. Counts the bytes of DATA frames.
#[derive(Debug)]
pub(crate) struct CountingReader<S> {
    stream: S,
    frames: Frames,
    unread: UnreadBytes,
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> CountingReader<S> {
    /// Creates the reading side of an HTTP/2 connection. The first byte of `stream` must be the first byte of the
    /// connection.
    pub(crate) fn new(stream: S, unread: UnreadBytes) -> Self {
        CountingReader {
            stream,
            frames: Frames::default(),
            unread,
            pause: None,
        }
    }
}

/// The parser's position in the stream of frames.
#[derive(Debug, Default)]
struct Frames {
    /// Number of bytes of the preface that have arrived.
    greeted: usize,
    header: [u8; FRAME_HEADER],
    /// Number of bytes of the frame header that have arrived.
    filled: usize,
    /// Number of bytes of the payload that have not arrived yet.
    left: usize,
    is_data: bool,
}

impl Frames {
    /// Parses `bytes` and returns how many of them are payload of DATA frames.
    fn data(&mut self, mut bytes: &[u8]) -> usize {
        let greeting = bytes.len().min(PREFACE.len() - self.greeted);
        self.greeted += greeting;
        bytes = &bytes[greeting..];
        let mut data = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = bytes.len().min(self.left);
                self.left -= count;
                data += if self.is_data { count } else { 0 };
                bytes = &bytes[count..];
                continue;
            }
            let count = bytes.len().min(FRAME_HEADER - self.filled);
            self.header[self.filled..][..count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            bytes = &bytes[count..];
            if self.filled == FRAME_HEADER {
                let [high, middle, low, kind, ..] = self.header;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.is_data = kind == DATA;
                self.filled = 0;
            }
        }
        data
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountingReader<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.unread.has_room() {
            let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(AGAIN)));
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        this.pause = None;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let data = this.frames.data(&buffer.filled()[before..]);
        if data > 0 {
            this.unread.arrived(data);
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![
            (length >> 16) as u8,
            (length >> 8) as u8,
            length as u8,
            kind,
        ];
        frame.extend([0, 0, 0, 0, 1]);
        frame.resize(FRAME_HEADER + length, b'x');
        frame
    }

    #[test]
    fn t11_data_is_told_from_the_rest_however_it_is_cut() {
        let all = [
            PREFACE.to_vec(),
            frame(4, 18),
            frame(1, 300),
            frame(DATA, 70_000),
            frame(8, 4),
            frame(DATA, 0),
            frame(DATA, 5),
        ]
        .concat();
        for piece in [1, 2, 7, 9, 1000, all.len()] {
            let mut frames = Frames::default();
            let data: usize = all.chunks(piece).map(|bytes| frames.data(bytes)).sum();
            assert_eq!(data, 70_005, "in pieces of {piece}");
        }
    }

    #[test]
    fn t11_what_nobody_has_read_is_charged() {
        let budget = Budget::new(1000);
        let unread = UnreadBytes::new(budget.whole().take(100).unwrap(), 100);
        let (one, other) = (unread.begin(), unread.begin());
        unread.arrived(800);
        assert_eq!(budget.used(), 900);
        assert!(unread.has_room());
        // Received bytes are charged even beyond the budget.
        unread.arrived(200);
        assert!(!unread.has_room());
        one.read(300);
        assert_eq!((budget.used(), unread.has_room()), (800, true));
        drop(one);
        assert_eq!(budget.used(), 800);
        drop(other);
        assert_eq!(budget.used(), 100);
        drop(unread);
        assert_eq!(budget.used(), 0);
    }
}
