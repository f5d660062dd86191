//! One direction of a connection: the state of its parser.

use core::mem::offset_of;

use crate::{
    packet::Packet,
    window::{CARRY, LOAD, Window, widen},
};

/// Kinds of bytes that the parser can expect: the values of `Direction::phase`.
pub mod phase {
    /// Lines of a head: a start line, then fields up to an empty line.
    pub const HEAD: u8 = 0;
    /// A body of `remaining` bytes.
    pub const BODY: u8 = 1;
    /// The line that opens a chunk.
    pub const CHUNK_HEAD: u8 = 2;
    /// `remaining` bytes of a chunk. Of a response, these include the line end after its data.
    pub const CHUNK_DATA: u8 = 3;
    /// Lines after the last chunk, up to an empty one.
    pub const TRAILER: u8 = 4;
    /// The value of a field, or the size of a chunk, that is read byte by byte (see `http1::value`).
    pub const VALUE: u8 = 5;
    /// The line end after the data of a chunk of a request.
    pub const CHUNK_END: u8 = 6;
    /// A body that ends with the connection, or when another message is recognised (see `http1::resume`).
    pub const UNTIL_CLOSE: u8 = 7;
    /// Bytes that are not parsed: the connection is a tunnel or opaque, or the server sends bytes of no response.
    pub const IGNORE: u8 = 8;
}

/// Properties of the current message: the bits of `Direction::flags`.
pub mod flag {
    /// The start line has not been read.
    pub const START_LINE: u16 = 1;
    /// The message has been counted (its first byte was seen).
    pub const BEGUN: u16 = 1 << 1;
    /// The current line was too long to keep. The parser has handled its beginning, and skips the rest of it.
    pub const SKIP_LINE: u16 = 1 << 2;
    /// A Content-Length was read into `remaining`.
    pub const LENGTH: u16 = 1 << 3;
    /// The last transfer coding is chunked.
    pub const CHUNKED: u16 = 1 << 4;
    /// There is a transfer coding, and the last one is not chunked.
    pub const CODED: u16 = 1 << 5;
    /// The segment needs more parser steps than one run of the program takes. The next run continues in this segment.
    pub const UNFINISHED: u16 = 1 << 6;
    /// The request is a probe, or its path is excluded.
    pub const EXCLUDED: u16 = 1 << 7;
    /// The data cannot be parsed: the connection is opaque from here on.
    pub const UNREADABLE: u16 = 1 << 8;
    /// The response grants an upgrade or a CONNECT: the connection is a tunnel from here on.
    pub const GRANTED: u16 = 1 << 9;
    /// The message is complete.
    pub const COMPLETE: u16 = 1 << 10;
    /// The current line does not end in the window: more bytes must be loaded.
    pub const SHORT: u16 = 1 << 11;
    /// The next bytes are HTTP/2, so the HTTP/1 parser does not read them.
    pub const HTTP2: u16 = 1 << 12;
    /// The parser has begun to read a piece of the out-of-order buffer, and needs more steps for the rest of the piece.
    pub const MIDWAY: u16 = 1 << 15;
    /// The response names h2c as the protocol to switch to. Of a request: see [`HTTP10`].
    pub const H2C: u16 = 1 << 13;
    /// The version of the request may be HTTP/1.0. Of a response: see [`H2C`].
    pub const HTTP10: u16 = 1 << 13;
    /// The client announces the body of its request (`Expect`), and no byte of the body has arrived yet.
    pub const EXPECT: u16 = 1 << 14;
}

/// A TCP segment that has arrived.
///
/// A segment is stored in the state of its direction, and read back from there. So the verifier does not know how the
/// values of the segment were computed (for example from an IPv4 or an IPv6 packet), and follows one path for all of
/// them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Sequence number of the segment's first byte.
    pub first: u32,
    /// Number of bytes of payload.
    pub length: u32,
    /// Offset of the payload in the packet, in bytes.
    pub offset: u32,
    /// TCP flags of the segment.
    pub flags: u32,
}

impl Segment {
    /// The TCP flag FIN.
    pub const FIN: u32 = 1;

    /// The TCP flag SYN.
    pub const SYN: u32 = 1 << 1;

    /// The TCP flag RST.
    pub const RST: u32 = 1 << 2;

    /// Returns the sequence number of the first byte of payload. A SYN takes the sequence number before this byte.
    #[inline(always)]
    pub fn first_byte(self) -> u32 {
        self.first
            .wrapping_add(u32::from(self.flags & Self::SYN != 0))
    }

    /// Returns the number of bytes of the segment that have been neither loaded into the window nor skipped; 0 for a
    /// segment that was read before.
    #[inline(always)]
    pub(crate) fn left(self, direction: &Direction) -> u32 {
        let left = self
            .first
            .wrapping_add(self.length)
            .wrapping_sub(direction.next);
        if left > self.length { 0 } else { left }
    }
}

/// Maximum distance of a segment ahead of the parser, in bytes. A segment farther ahead cannot belong to this
/// connection: receive windows are smaller.
const FARTHEST: u32 = 1 << 28;

/// Position of a segment, relative to the next byte that the parser expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentPlace {
    /// The segment has no new bytes.
    Nothing,
    /// The segment begins with the next expected byte, or repeats earlier bytes and ends with new ones.
    Next,
    /// The segment begins this many bytes after the next byte that the parser expects. The bytes between are lost, or
    /// the segment has overtaken them.
    Ahead(u32),
}

/// A direction of a connection: from the client, or to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the client.
    Requests,
    /// To the client.
    Responses,
}

/// The parser state of one direction.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Direction {
    /// Sequence number of the first byte that has been neither loaded into the window nor skipped.
    pub next: u32,
    /// One of [`phase`].
    pub phase: u8,
    /// A detail of the phase. In [`phase::VALUE`]: see `http1::value`. In [`phase::IGNORE`]: [`Self::NEVER_HTTP1`] or
    /// 0. In [`phase::HEAD`]: bits for a long start line ([`Self::LONG_START_LINE`]) or 0. In all other phases: 0.
    pub detail: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Remaining bytes of the body or chunk.
    pub remaining: u64,
    /// Status code of the current response; 0 before its status line. Of a request: 1 plus the Content-Length that was
    /// read first, to compare it with a second one; 0: none.
    pub status: u64,
    /// Time at which the current packet was sent, ns; 0: not known.
    pub stamp: u64,
    /// The current segment.
    pub segment: Segment,
    /// The bytes that are being parsed.
    pub window: Window,
}

impl Direction {
    /// The state of a new direction: all zeros. [`Self::open_at`] prepares the direction for its first byte.
    pub const ZERO: Self = Self {
        next: 0,
        phase: 0,
        detail: 0,
        flags: 0,
        remaining: 0,
        status: 0,
        stamp: 0,
        segment: Segment {
            first: 0,
            length: 0,
            offset: 0,
            flags: 0,
        },
        window: Window::EMPTY,
    };

    /// Prepares a zeroed direction for its first byte. `next` is the sequence number of that byte.
    #[inline(always)]
    pub fn open_at(&mut self, next: u32) {
        self.next = next;
        self.flags = flag::START_LINE;
    }

    /// Stores the segment that has arrived, and reads the segment back from memory (see [`Segment`] for the reason).
    #[inline(always)]
    pub fn arrived(&mut self, segment: Segment) -> Segment {
        self.segment = segment;
        Segment {
            first: widen(&self.segment.first),
            length: widen(&self.segment.length),
            offset: widen(&self.segment.offset),
            flags: widen(&self.segment.flags),
        }
    }

    /// Returns whether a segment begins with the next byte that the parser expects, and all its bytes are new. Most
    /// segments are like this.
    #[inline(always)]
    pub fn is_next(&self, segment: Segment) -> bool {
        segment.first == self.next && segment.length != 0 && !self.has(flag::UNFINISHED)
    }

    /// Finds the position of a segment, relative to the next byte that the parser expects.
    #[inline(always)]
    pub fn place(&self, segment: Segment) -> SegmentPlace {
        let gap = segment.first.wrapping_sub(self.next);
        if gap == 0 || gap > u32::MAX - FARTHEST {
            return if segment.left(self) > 0 {
                SegmentPlace::Next
            } else {
                SegmentPlace::Nothing
            };
        }
        if gap > FARTHEST {
            return SegmentPlace::Nothing;
        }
        SegmentPlace::Ahead(gap)
    }

    /// Returns whether bytes are missing before a segment, so that the segment must wait. The next `passable` bytes may
    /// be missing, because the parser does not read them.
    #[inline(always)]
    pub(crate) fn has_gap_before(&self, segment: Segment, passable: u64) -> bool {
        !self.has(flag::UNFINISHED)
            && match self.place(segment) {
                SegmentPlace::Ahead(gap) => u64::from(gap) > passable,
                _ => false,
            }
    }

    /// Loads the bytes that follow those in the window. Returns `false` if there are no such bytes, or if they cannot
    /// be loaded.
    #[inline(always)]
    pub(crate) fn load<P: Packet>(&mut self, packet: &P, segment: Segment) -> bool {
        let left = segment.left(self);
        let length = if left < LOAD { left } else { LOAD };
        let at = self.window.end;
        if length == 0 || at > CARRY {
            return false;
        }
        let offset = self.next.wrapping_sub(segment.first);
        if !packet.load(
            segment.offset.wrapping_add(offset),
            &mut self.window,
            at,
            length,
        ) {
            return false;
        }
        self.window.end = at + length;
        self.next = self.next.wrapping_add(length);
        true
    }

    /// Skips at most `count` bytes: first those in the window, then those that are not loaded. Returns the number of
    /// skipped bytes.
    #[inline(always)]
    pub(crate) fn pass(&mut self, segment: Segment, count: u64) -> u64 {
        let unread = u64::from(self.window.unread());
        if count < unread {
            self.window.start = self.window.start.wrapping_add(count as u32);
            return count;
        }
        self.window.clear();
        let left = u64::from(segment.left(self));
        let beyond = count - unread;
        let beyond = if beyond < left { beyond } else { left };
        self.next = self.next.wrapping_add(beyond as u32);
        unread + beyond
    }

    /// Returns whether all of these flags are set. The flags are read from memory each time (see [`Self::phase_now`]).
    #[inline(always)]
    pub fn has(&self, flags: u16) -> bool {
        // SAFETY: a reference is valid for reads.
        let now = unsafe { (&raw const self.flags).read_volatile() };
        now & flags == flags
    }

    /// Returns whether the unread bytes are further lines of a head, and no flag changes how they are read. One
    /// comparison of a word tests all flags at once.
    #[inline(always)]
    pub(crate) fn is_inside_head(&self) -> bool {
        /// The flags that do not change how the lines are read, shifted to their positions in the word that is
        /// compared. The field `detail`, which is also in this word, is 0.
        const PLAIN: u32 = ((flag::BEGUN
            | flag::LENGTH
            | flag::CHUNKED
            | flag::CODED
            | flag::EXCLUDED
            | flag::EXPECT
            | flag::H2C) as u32)
            << 16;
        const _: () = assert!(
            offset_of!(Direction, flags) == offset_of!(Direction, phase) + 2
                && offset_of!(Direction, phase).is_multiple_of(4)
        );
        // SAFETY: the pointer is aligned, and the two fields that follow `phase` belong to the same word.
        let both = unsafe {
            (&raw const *self)
                .cast::<u8>()
                .add(offset_of!(Self, phase))
                .cast::<u32>()
                .read_volatile()
        };
        both & !PLAIN == u32::from(phase::HEAD) && self.window.unread() != 0
    }

    /// Returns the phase, read from memory each time. If the program compared a copy in a register, the verifier would
    /// follow one path for each value through all the code that follows.
    #[inline(always)]
    pub fn phase_now(&self) -> u8 {
        // SAFETY: a reference is valid for reads.
        unsafe { (&raw const self.phase).read_volatile() }
    }

    /// Returns the detail of the phase, read from memory each time (see [`Self::phase_now`]).
    #[inline(always)]
    pub fn detail_now(&self) -> u8 {
        // SAFETY: a reference is valid for reads.
        unsafe { (&raw const self.detail).read_volatile() }
    }

    /// Prepares for the head of the next message.
    #[inline(always)]
    pub fn next_message(&mut self) {
        self.phase = phase::HEAD;
        self.detail = 0;
        self.flags = flag::START_LINE;
        self.status = 0;
    }

    /// The bytes of this direction will never be HTTP/1: no message is searched for. A bit of `detail`.
    pub const NEVER_HTTP1: u8 = 1 << 7;

    /// The parser skips the rest of a long start line. A bit of `detail`.
    pub const LONG_START_LINE: u8 = 1;

    /// The last byte of the long start line so far is a CR. A bit of `detail`, beside [`Self::LONG_START_LINE`].
    pub const LONG_LINE_CR: u8 = 1 << 1;

    /// From now on, skips all data of this direction.
    #[inline(always)]
    pub fn ignore(&mut self) {
        self.phase = phase::IGNORE;
        self.detail &= Self::NEVER_HTTP1;
        self.window.clear();
    }
}
