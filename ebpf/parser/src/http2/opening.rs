//! How a connection changes to HTTP/2.
//!
//! Each direction detects the change separately, while it is still read as HTTP/1. The direction from the client
//! detects it by the first line of the preface. The direction to the client detects it by a SETTINGS frame at its
//! beginning, or by the grant of an upgrade (RFC 7540, 3.2). From then on, the bytes of this direction are read as
//! HTTP/2. If the first frame of a direction is not SETTINGS, the connection becomes opaque: the server may not know
//! HTTP/2, and may take the preface and the bytes after it for requests of HTTP/1.

use super::{FIRST_FRAME, Http2, Way};
use crate::{
    conn::{Conn, state},
    direction::{Direction, Side},
    packet::Meter,
    window::CARRY,
};

/// Number of bytes that follow the line `PRI * HTTP/2.0` at the beginning of HTTP/2: `\r\nSM\r\n\r\n`.
const REST_OF_PREFACE: u64 = 8;

impl Http2 {
    /// Changes one direction to HTTP/2, after the HTTP/1 parser has found HTTP/2 in the segment that it is reading.
    /// Returns `false` if the direction cannot change.
    #[inline(always)]
    pub fn take_over<M: Meter>(&mut self, side: Side, conn: &mut Conn, meter: &mut M) -> bool {
        self.belong_to(conn.slot);
        match side {
            Side::Requests => {
                if !self.is_read() || !conn.become_http2(meter) {
                    return false;
                }
                // The unread bytes follow a line that has ended in the current segment, so none of them arrived before
                // this segment.
                self.requests.open(&conn.requests, 0);
                self.requests.direction.remaining = REST_OF_PREFACE;
            }
            Side::Responses => {
                if conn.is(state::OPAQUE) {
                    // The client has not changed to HTTP/2, and the connection is opaque. So the server's data is not
                    // read as HTTP/2, and all streams in flight end.
                    self.finish(meter);
                    return false;
                }
                if let Some((since, excluded)) = conn.hand_over() {
                    self.adopt(meter, since, excluded);
                }
                let earlier = before_segment(&conn.responses);
                self.responses.open(&conn.responses, earlier);
            }
        }
        true
    }

    /// Begins to read the server's data as HTTP/2, after the client's data has changed to HTTP/2.
    #[inline(always)]
    pub fn follow(&mut self, conn: &Conn) {
        let unread = conn.responses.window.unread();
        self.responses.open(&conn.responses, unread);
    }
}

/// Returns the number of unread bytes that arrived before the current segment.
#[inline(always)]
fn before_segment(direction: &Direction) -> u32 {
    let loaded = direction.next.wrapping_sub(direction.segment.first);
    direction.window.unread().saturating_sub(loaded)
}

impl Way {
    /// Begins to read HTTP/2 at the first byte that the HTTP/1 parser has not read. `earlier` is the number of unread
    /// bytes that arrived before the current segment. These bytes are copied from the HTTP/1 parser's window, because
    /// they are not in the current packet. The other unread bytes are loaded from the packet again.
    #[inline(always)]
    fn open(&mut self, from: &Direction, earlier: u32) {
        // The HTTP/1 parser never keeps more than `CARRY` bytes.
        let earlier = if earlier < CARRY { earlier } else { CARRY };
        let window = &from.window;
        let again = window.unread().wrapping_sub(earlier);
        self.direction.open_at(from.next.wrapping_sub(again));
        self.direction.flags |= FIRST_FRAME;
        for index in 0..CARRY / 8 {
            self.direction.window.words[index as usize] = window.eight(window.start + index * 8);
        }
        self.direction.window.end = earlier;
    }
}
