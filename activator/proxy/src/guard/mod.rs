//! The guard: checks the bytes of HTTP/1 clients before hyper reads them.
//!
//! hyper is lenient where RFC 9112 allows it: if a message has two lengths, hyper uses one of them; it accepts lines
//! that end with LF alone, and ignores unknown codings. A proxy must not be lenient: if two readers can interpret a
//! message differently, a request can be smuggled past one of them. So this module parses the bytes of every head and
//! body, and an ambiguous request does not reach hyper.
//!
//! A head is passed on to hyper when it is complete; a body is passed on as it arrives. A refused request is replaced
//! by another, valid request (the stand-in), so that hyper answers it in order, after the requests before it. The bytes
//! after a refused request are not read. From its first invalid byte on, a body is replaced by bytes that hyper
//! rejects, too.
//!
//! Bias: towards refusing. Failure mode: after a request for an upgrade, at most [`UNDECIDED`] bytes are read until the
//! request is answered.

mod head;
mod parser;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, ReadBuf};

pub(crate) use self::head::Flaw;
use self::parser::{RequestParser, Verdict};
use crate::budget::{self, Charge};

/// Maximum number of bytes that are kept after a request for an upgrade until it is answered. A correct client sends no
/// bytes before the response.
const UNDECIDED: usize = 16 * 1024;

/// The stand-in request that hyper gets for a refused request.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Bytes that are invalid everywhere in a chunked body: as chunk size, end of a chunk, extension and trailer.
const BROKEN: &[u8] = b"\0\n\0\r\n\r\n";

const HTTP: u8 = 0;
const UPGRADED: u8 = 1;
const DECLINED: u8 = 2;

/// The state of a connection that the guard ([`Guarded`]) shares with the code that answers the requests.
#[derive(Debug, Default)]
pub(crate) struct GuardState {
    /// The number of the refused request, counted from 1, and the reason for its refusal.
    refused: Mutex<Option<(u64, Flaw)>>,
    decision: AtomicU8,
    waits: Mutex<Option<Waker>>,
}

impl GuardState {
    /// Returns the reason why the request with this number must not be forwarded, if there is a reason. Numbers begin
    /// at 1.
    pub(crate) fn refusal(&self, number: u64) -> Option<Flaw> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused
            .filter(|&(which, _)| which == number)
            .map(|(_, flaw)| flaw)
    }

    /// Returns whether any request was refused.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// Reports the response to the upgrade that the last request asked for. If `upgraded` is true, the following bytes
    /// are not HTTP.
    pub(crate) fn decide(&self, upgraded: bool) {
        let decision = if upgraded { UPGRADED } else { DECLINED };
        self.decision.store(decision, Ordering::Release);
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = waits.as_ref() {
            waker.wake_by_ref();
        }
    }
}

#[derive(Debug)]
enum Mode {
    Http(RequestParser),
    /// A request for an upgrade is not answered yet. It is unknown whether the following bytes are HTTP.
    Undecided(RequestParser),
    /// The connection is upgraded and no longer HTTP, so all bytes pass unchecked.
    Through,
    /// A request or a body was refused, so no more bytes are read from the client.
    Over,
}

/// The reading side of a stream. Only checked bytes can be read from it.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    mode: Mode,
    /// The bytes of an incomplete head, or the bytes that arrived after a request for an upgrade that is not answered
    /// yet.
    kept: Vec<u8>,
    /// Checked bytes. The bytes from index `read` on have not been read yet.
    passed: Vec<u8>,
    read: usize,
    shared: Arc<GuardState>,
    /// The charge for the connection and for its largest buffer. hyper keeps the largest buffer until the connection
    /// ends.
    memory: Charge,
    largest: usize,
}

impl<S> Guarded<S> {
    /// Checks an HTTP/1 stream with heads of at most `max_header` bytes. `memory` is the connection's charge, which
    /// already includes the fixed memory of a connection ([`budget::CONNECTION`]).
    pub(crate) fn new(
        stream: S,
        max_header: usize,
        shared: Arc<GuardState>,
        memory: Charge,
    ) -> Self {
        Guarded {
            stream,
            mode: Mode::Http(RequestParser::new(max_header)),
            kept: Vec::new(),
            passed: Vec::new(),
            read: 0,
            shared,
            memory,
            largest: 0,
        }
    }

    /// Checks `data`. Moves the bytes that pass the check to `passed`, and the other bytes to `kept`.
    fn take_in(&mut self, mut data: Vec<u8>) {
        let Mode::Http(parser) = &mut self.mode else {
            return self.passed.extend_from_slice(&data);
        };
        let (verdict, len) = (parser.parse(&data), data.len());
        let (pass, own) = self.settle(verdict, len);
        self.kept = data.split_off(pass);
        self.after(own);
        if self.passed.is_empty() {
            self.passed = data;
        } else {
            self.passed.extend_from_slice(&data);
        }
        self.passed.extend_from_slice(own);
        self.charge(len);
    }

    /// Charges a buffer of `bytes` to the memory budget. If the budget is exhausted, an incomplete request is refused
    /// here. A complete request is charged in any case, because the code that answers the request can still refuse it.
    fn charge(&mut self, bytes: usize) {
        if bytes <= self.largest {
            return;
        }
        self.largest = bytes;
        let charge = budget::connection(bytes);
        if self.kept.is_empty() {
            return self.memory.force(charge);
        }
        if self.memory.set(charge) {
            return;
        }
        let (_, own) = self.settle(Verdict::Refuse(0, Flaw::NoMemory), 0);
        self.after(own);
        self.passed.extend_from_slice(own);
    }

    /// Applies the parser's verdict on `len` bytes. Returns how many of these bytes hyper gets. If a request or a body is
    /// refused, also returns the bytes that hyper gets instead of the rest.
    fn settle(&mut self, verdict: Verdict, len: usize) -> (usize, &'static [u8]) {
        match verdict {
            Verdict::Keep(count) => (len - count, b""),
            Verdict::Refuse(at, flaw) => {
                if let Mode::Http(parser) = &self.mode {
                    *self
                        .shared
                        .refused
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some((parser.heads + 1, flaw));
                }
                (at, STAND_IN)
            }
            Verdict::Break(at) => (at, BROKEN),
            Verdict::Undecided(at) => {
                self.mode = match std::mem::replace(&mut self.mode, Mode::Over) {
                    Mode::Http(parser) => Mode::Undecided(parser),
                    other => other,
                };
                (at, b"")
            }
        }
    }

    /// Stops reading from the client if `own` is not empty: `own` replaces the bytes of a refused request or body.
    fn after(&mut self, own: &[u8]) {
        if !own.is_empty() {
            self.mode = Mode::Over;
            self.kept = Vec::new();
        }
    }

    /// Moves checked bytes into `buffer`. Returns false if there are no checked bytes.
    fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let waiting = &self.passed[self.read..];
        if waiting.is_empty() {
            return false;
        }
        let count = waiting.len().min(buffer.remaining());
        buffer.put_slice(&waiting[..count]);
        self.read += count;
        if self.read == self.passed.len() {
            self.passed = Vec::new();
            self.read = 0;
        }
        true
    }

    /// If the request for an upgrade is answered, continues according to the response. Returns false while there is no
    /// response.
    fn is_decided(&mut self, cx: &Context<'_>) -> bool {
        *self
            .shared
            .waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        let decision = self.shared.decision.swap(HTTP, Ordering::AcqRel);
        if decision == HTTP {
            return false;
        }
        let kept = std::mem::take(&mut self.kept);
        self.mode = match std::mem::replace(&mut self.mode, Mode::Through) {
            Mode::Undecided(mut parser) if decision == DECLINED => {
                parser.go_on();
                Mode::Http(parser)
            }
            _ => Mode::Through,
        };
        if !kept.is_empty() {
            self.take_in(kept);
        }
        true
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.hand_out(buffer) {
                return Poll::Ready(Ok(()));
            }
            match &this.mode {
                Mode::Through => return Pin::new(&mut this.stream).poll_read(cx, buffer),
                // The end of the stream is not reported to hyper, because hyper would then close the connection without
                // a response.
                Mode::Over => return Poll::Pending,
                Mode::Undecided(_) => {
                    if this.is_decided(cx) {
                        continue;
                    }
                    if this.kept.len() >= UNDECIDED {
                        return Poll::Pending;
                    }
                }
                Mode::Http(_) => {}
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let new = &buffer.filled()[before..];
            if new.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if matches!(this.mode, Mode::Undecided(_)) {
                this.kept.extend_from_slice(new);
                buffer.set_filled(before);
                continue;
            }
            if !this.kept.is_empty() {
                let mut data = std::mem::take(&mut this.kept);
                data.extend_from_slice(new);
                buffer.set_filled(before);
                this.take_in(data);
                continue;
            }
            // Usually the new bytes end at the end of a head or within a body. Then all of them pass and remain in
            // `buffer`, without a copy.
            let Mode::Http(parser) = &mut this.mode else {
                return Poll::Ready(Ok(()));
            };
            let (verdict, len) = (parser.parse(new), new.len());
            let (pass, own) = this.settle(verdict, len);
            this.kept = buffer.filled()[before + pass..].to_vec();
            buffer.set_filled(before + pass);
            this.after(own);
            this.passed.extend_from_slice(own);
            this.charge(len);
            if pass > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
