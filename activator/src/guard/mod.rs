//! Watches over what HTTP/1 clients send, before hyper reads it.
//!
//! hyper is made to be lenient where RFC 9112 lets it: of two lengths it takes one, it reads lines
//! that end with LF alone, it passes over codings it does not know. A proxy must not be: what two
//! readers can take in two ways is how a request is smuggled past one of them. So the bytes are
//! followed here from head to head, and a request that leaves a doubt does not reach hyper.
//!
//! A head passes when it is complete, a body as it comes. A refused request is replaced by one of
//! the guard's own, so that hyper answers it in its turn, after those before it; nothing after it is
//! read. A body that breaks off in mid-way is made to look broken to hyper as well.
//!
//! Bias: towards refusing. Failure mode: an upgrade that has not been answered yet stops the reading
//! of what follows once [`UNDECIDED`] bytes have come.

mod head;
mod machine;
#[cfg(test)]
mod tests;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) use self::head::Flaw;
use self::machine::{Machine, Verdict};
use crate::budget::{self, Charge};

/// Bytes that are kept of what comes before an upgrade is answered. A client that waits for the
/// answer, as it should, sends none.
const UNDECIDED: usize = 16 * 1024;

/// What hyper is given instead of a request that is refused.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// No size of a chunk, no end of one, no extension, and no trailer.
const BROKEN: &[u8] = b"\0\n\0\r\n\r\n";

const HTTP: u8 = 0;
const UPGRADED: u8 = 1;
const DECLINED: u8 = 2;

/// What the guard and those who answer have to tell each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Which request is refused, counted from 1, and why.
    refused: Mutex<Option<(u64, Flaw)>>,
    decision: AtomicU8,
    waits: Mutex<Option<Waker>>,
}

impl Shared {
    /// Why the `number`th request must not be passed on.
    pub(crate) fn refusal(&self, number: u64) -> Option<Flaw> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused
            .filter(|&(which, _)| which == number)
            .map(|(_, flaw)| flaw)
    }

    /// Whether any request was refused.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }

    /// The last request asked for an upgrade, and this is the answer: whether what comes next is no
    /// HTTP.
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
    Http(Machine),
    /// Whether it is HTTP that comes next is not known yet.
    Undecided(Machine),
    /// Nothing is looked at.
    Through,
    /// Nothing more is read.
    Over,
}

/// A stream of which only what may be passed on can be read.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    stream: S,
    mode: Mode,
    /// A head that is not complete, or what came while an upgrade is undecided.
    kept: Vec<u8>,
    /// Passed, but not read yet: from `read` on.
    passed: Vec<u8>,
    read: usize,
    shared: Arc<Shared>,
    /// For the connection, and for the largest buffer that it has needed so far: hyper keeps that until the end.
    memory: Charge,
    largest: usize,
}

impl<S> Guarded<S> {
    /// Watches over HTTP/1 with heads of at most `max_header` bytes. `memory` is charged with what the connection takes by
    /// itself ([`budget::CONNECTION`]).
    pub(crate) fn new(stream: S, max_header: usize, shared: Arc<Shared>, memory: Charge) -> Self {
        Guarded {
            stream,
            mode: Mode::Http(Machine::new(max_header)),
            kept: Vec::new(),
            passed: Vec::new(),
            read: 0,
            shared,
            memory,
            largest: 0,
        }
    }

    /// Puts what may be passed on of `data` into `passed`, and keeps the rest.
    fn take_in(&mut self, mut data: Vec<u8>) {
        let Mode::Http(machine) = &mut self.mode else {
            return self.passed.extend_from_slice(&data);
        };
        let (verdict, len) = (machine.look(&data), data.len());
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

    /// Charges so many bytes that were there at a time. If there is no memory for them, a request that is not complete is
    /// refused here, and another one by whoever answers it.
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

    /// What a verdict on `len` bytes means: how many pass, and what of the guard's own follows them.
    fn settle(&mut self, verdict: Verdict, len: usize) -> (usize, &'static [u8]) {
        match verdict {
            Verdict::Keep(count) => (len - count, b""),
            Verdict::Refuse(at, flaw) => {
                if let Mode::Http(machine) = &self.mode {
                    *self
                        .shared
                        .refused
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some((machine.heads + 1, flaw));
                }
                (at, STAND_IN)
            }
            Verdict::Break(at) => (at, BROKEN),
            Verdict::Undecided(at) => {
                self.mode = match std::mem::replace(&mut self.mode, Mode::Over) {
                    Mode::Http(machine) => Mode::Undecided(machine),
                    other => other,
                };
                (at, b"")
            }
        }
    }

    /// After bytes of the guard's own nothing follows.
    fn after(&mut self, own: &[u8]) {
        if !own.is_empty() {
            self.mode = Mode::Over;
            self.kept = Vec::new();
        }
    }

    /// Moves what has passed into `buffer`; false when there is none.
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

    /// Acts on the answer to an upgrade; false while there is none.
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
            Mode::Undecided(mut machine) if decision == DECLINED => {
                machine.go_on();
                Mode::Http(machine)
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
                // An end would make hyper leave without a word.
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
            // The usual case: whole heads and pieces of bodies, which stay where they are.
            let Mode::Http(machine) = &mut this.mode else {
                return Poll::Ready(Ok(()));
            };
            let (verdict, len) = (machine.look(new), new.len());
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
