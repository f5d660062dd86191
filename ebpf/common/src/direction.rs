//! One direction of a connection: where its parser stands.

use crate::window::{Window, forget};

/// What the next bytes are.
pub mod phase {
    /// Lines of a head: a start line, then fields up to an empty line.
    pub const HEAD: u8 = 0;
    /// A body of `remaining` bytes.
    pub const BODY: u8 = 1;
    /// The line that opens a chunk.
    pub const CHUNK_HEAD: u8 = 2;
    /// `remaining` bytes of a chunk, its closing CRLF included.
    pub const CHUNK_DATA: u8 = 3;
    /// Lines after the last chunk, up to an empty one.
    pub const TRAILER: u8 = 4;
    /// A body that ends with the connection.
    pub const UNTIL_CLOSE: u8 = 5;
    /// Bytes that nobody reads: a tunnel, an opaque connection.
    pub const IGNORE: u8 = 6;
}

/// What is known of the message at hand.
pub mod flag {
    /// The start line has not been read.
    pub const START_LINE: u16 = 1;
    /// The message has been counted (its first byte was seen).
    pub const BEGUN: u16 = 1 << 1;
    /// The line at hand was too long to keep and has been judged by its beginning; skip to its end.
    pub const SKIP_LINE: u16 = 1 << 2;
    /// A Content-Length was read into `remaining`.
    pub const LENGTH: u16 = 1 << 3;
    /// The last transfer coding is chunked.
    pub const CHUNKED: u16 = 1 << 4;
    /// There is a transfer coding, and the last one is not chunked.
    pub const CODED: u16 = 1 << 5;
    /// More steps were needed than one run has; the rest follows in the next.
    pub const UNFINISHED: u16 = 1 << 6;
    /// The request is a probe or goes to an excluded path.
    pub const EXCLUDED: u16 = 1 << 7;
    /// What came cannot be understood: the connection is opaque from here.
    pub const UNREADABLE: u16 = 1 << 8;
    /// The response grants an upgrade or a CONNECT: the connection is a tunnel from here.
    pub const GRANTED: u16 = 1 << 9;
    /// The message is complete.
    pub const COMPLETE: u16 = 1 << 10;
    /// The line at hand does not end in the window: more must be loaded behind it.
    pub const SHORT: u16 = 1 << 11;
}

/// A TCP segment that has arrived.
///
/// It is noted in the direction it belongs to and read back from there, so that the verifier
/// forgets by which way (IPv4 or IPv6, for one) its numbers were found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Sequence number of its first byte.
    pub first: u32,
    /// Bytes of payload.
    pub length: u32,
    /// Where the payload begins in the packet.
    pub offset: u32,
    /// Its TCP flags.
    pub flags: u32,
}

impl Segment {
    /// The TCP flag FIN.
    pub const FIN: u32 = 1;

    /// Bytes that are neither in the window nor skipped. A segment that came before has none.
    #[inline(always)]
    pub(crate) fn left(self, direction: &Direction) -> u32 {
        let left = self
            .first
            .wrapping_add(self.length)
            .wrapping_sub(direction.next);
        if left > self.length { 0 } else { left }
    }
}

/// The parser state of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Direction {
    /// Sequence number of the first byte that is neither in the window nor behind us.
    pub next: u32,
    /// One of [`phase`].
    pub phase: u8,
    /// Keeps the layout free of padding.
    pub reserved: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Bytes of the body or chunk that are still to come.
    pub remaining: u64,
    /// Status code of the response at hand, 0 before its status line.
    pub status: u64,
    /// The segment at hand.
    pub segment: Segment,
    /// The bytes under examination.
    pub window: Window,
}

impl Direction {
    /// All zeros: see [`Self::open_at`].
    pub const ZERO: Self = Self {
        next: 0,
        phase: 0,
        reserved: 0,
        flags: 0,
        remaining: 0,
        status: 0,
        segment: Segment {
            first: 0,
            length: 0,
            offset: 0,
            flags: 0,
        },
        window: Window::EMPTY,
    };

    /// Makes a zeroed direction ready for its first byte, which has this sequence number.
    #[inline(always)]
    pub fn open_at(&mut self, next: u32) {
        self.next = next;
        self.flags = flag::START_LINE;
    }

    /// Notes the segment that has arrived.
    #[inline(always)]
    pub fn arrived(&mut self, segment: Segment) -> Segment {
        self.segment = segment;
        Segment {
            first: forget(&self.segment.first),
            length: forget(&self.segment.length),
            offset: forget(&self.segment.offset),
            flags: forget(&self.segment.flags),
        }
    }

    /// Whether all of these flags are set.
    #[inline(always)]
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Gets ready for the head of the next message.
    #[inline(always)]
    pub fn next_message(&mut self) {
        self.phase = phase::HEAD;
        self.flags = flag::START_LINE;
        self.status = 0;
    }

    /// Stops reading this direction.
    #[inline(always)]
    pub fn ignore(&mut self) {
        self.phase = phase::IGNORE;
        self.window.clear();
    }
}
