//! One direction of a connection: where its parser stands.

use core::mem::offset_of;

use crate::{
    packet::Packet,
    window::{CARRY, LOAD, Window, forget},
};

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
    /// What follows is HTTP/2.
    pub const HTTP2: u16 = 1 << 12;
    /// The parser stands in the middle of something that was kept, with steps still to take.
    pub const MIDWAY: u16 = 1 << 15;
    /// The response names h2c as the protocol to go on with.
    pub const H2C: u16 = 1 << 13;
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

    /// The TCP flag SYN.
    pub const SYN: u32 = 1 << 1;

    /// Sequence number of its first byte of payload: a SYN takes up one before it.
    #[inline(always)]
    pub fn first_byte(self) -> u32 {
        self.first
            .wrapping_add(u32::from(self.flags & Self::SYN != 0))
    }

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

/// How far a segment is ahead of the parser beyond which it is not taken for one of this
/// connection's: receive windows are smaller.
const FARTHEST: u32 = 1 << 28;

/// Where a segment lies, seen from where the parser stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It brings nothing.
    Nothing,
    /// It is next, or a repetition of which the end is new.
    Next,
    /// Bytes before it have not been seen: lost, or overtaken by it. So many.
    Ahead(u32),
}

/// Which direction is read.
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
    /// Sequence number of the first byte that is neither in the window nor behind us.
    pub next: u32,
    /// One of [`phase`].
    pub phase: u8,
    /// Keeps the layout free of padding.
    reserved: u8,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Bytes of the body or chunk that are still to come.
    pub remaining: u64,
    /// Status code of the response at hand, 0 before its status line.
    pub status: u64,
    /// When the packet at hand was sent, ns, where it tells.
    pub stamp: u64,
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
        stamp: 0,
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

    /// Whether a segment is all new, and what comes next. Most are.
    #[inline(always)]
    pub fn is_next(&self, segment: Segment) -> bool {
        segment.first == self.next && segment.length != 0 && !self.has(flag::UNFINISHED)
    }

    /// Looks where a segment lies.
    #[inline(always)]
    pub fn place(&self, segment: Segment) -> Place {
        let gap = segment.first.wrapping_sub(self.next);
        if gap == 0 || gap > u32::MAX - FARTHEST {
            return if segment.left(self) > 0 {
                Place::Next
            } else {
                Place::Nothing
            };
        }
        if gap > FARTHEST {
            return Place::Nothing;
        }
        Place::Ahead(gap)
    }

    /// Whether bytes are missing before a segment, other than the next `passable` ones, which nobody reads.
    #[inline(always)]
    pub(crate) fn lacks(&self, segment: Segment, passable: u64) -> bool {
        !self.has(flag::UNFINISHED)
            && match self.place(segment) {
                Place::Ahead(gap) => u64::from(gap) > passable,
                _ => false,
            }
    }

    /// Loads what follows the bytes in the window. `false` if there is nothing.
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

    /// Passes over at most `count` bytes: those in the window first, then those that are not loaded. Returns how many.
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

    /// Whether all of these flags are set. Read from memory each time, as [`Self::phase_now`] is.
    #[inline(always)]
    pub fn has(&self, flags: u16) -> bool {
        // SAFETY: a reference is valid for reads.
        let now = unsafe { (&raw const self.flags).read_volatile() };
        now & flags == flags
    }

    /// Whether unread bytes are those of a head's further lines, and whatever is known of it is of no consequence to how they
    /// are read. One look at what would be a dozen.
    #[inline(always)]
    pub(crate) fn is_inside_head(&self) -> bool {
        /// `reserved` is 0.
        const PLAIN: u32 = ((flag::BEGUN
            | flag::LENGTH
            | flag::CHUNKED
            | flag::CODED
            | flag::EXCLUDED
            | flag::H2C) as u32)
            << 16;
        const _: () = assert!(
            offset_of!(Direction, flags) == offset_of!(Direction, phase) + 2
                && offset_of!(Direction, phase).is_multiple_of(4)
        );
        // SAFETY: aligned, and the two fields beside it make it up.
        let both = unsafe {
            (&raw const *self)
                .cast::<u8>()
                .add(offset_of!(Self, phase))
                .cast::<u32>()
                .read_volatile()
        };
        both & !PLAIN == u32::from(phase::HEAD) && self.window.unread() != 0
    }

    /// The phase, read from memory each time: a copy of it in a register that has been compared would be as many
    /// ways for the verifier to follow through all that comes after.
    #[inline(always)]
    pub fn phase_now(&self) -> u8 {
        // SAFETY: a reference is valid for reads.
        unsafe { (&raw const self.phase).read_volatile() }
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
