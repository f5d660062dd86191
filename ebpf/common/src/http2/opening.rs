//! How a connection comes to speak HTTP/2.
//!
//! Each direction finds it out by itself, while it is still read as HTTP/1: the client's by the line of the
//! preface, the server's by a frame of SETTINGS that comes first or by the grant of an upgrade (RFC 7540, 3.2). From
//! there on its bytes are read here.

use super::{Http2, Way};
use crate::{
    conn::{Conn, state},
    direction::{Direction, Side},
    packet::Meter,
    window::CARRY,
};

/// What a client's HTTP/2 connection begins with, behind the line `PRI * HTTP/2.0`: `\r\nSM\r\n\r\n`.
const REST_OF_PREFACE: u64 = 8;

impl Http2 {
    /// HTTP/1 has found that one direction goes on in HTTP/2, in the segment that it is reading. `false` if that
    /// cannot be.
    #[inline(always)]
    pub fn take_over<M: Meter>(&mut self, side: Side, conn: &mut Conn, meter: &mut M) -> bool {
        self.belong_to(conn.slot);
        match side {
            Side::Requests => {
                if !self.is_read() || !conn.become_http2(meter) {
                    return false;
                }
                // What is unread follows a line that has ended in the segment at hand.
                self.requests.open(&conn.requests, 0);
                self.requests.direction.remaining = REST_OF_PREFACE;
            }
            Side::Responses => {
                if conn.is(state::OPAQUE) {
                    // The client has gone on in something else; what it had in flight here is lost.
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

    /// The client has gone on in HTTP/2: what the server says from here, too, is that.
    #[inline(always)]
    pub fn follow(&mut self, conn: &Conn) {
        let unread = conn.responses.window.unread();
        self.responses.open(&conn.responses, unread);
    }
}

/// How many of the unread bytes came before the segment at hand.
#[inline(always)]
fn before_segment(direction: &Direction) -> u32 {
    let loaded = direction.next.wrapping_sub(direction.segment.first);
    direction.window.unread().saturating_sub(loaded)
}

impl Way {
    /// Begins where HTTP/1 has stopped reading. Of the bytes in its window, those that came `earlier` are taken
    /// along, as nobody will show them again; the others are read once more.
    #[inline(always)]
    fn open(&mut self, from: &Direction, earlier: u32) {
        // No more are ever kept.
        let earlier = if earlier < CARRY { earlier } else { CARRY };
        let window = &from.window;
        let again = window.unread().wrapping_sub(earlier);
        self.direction.open_at(from.next.wrapping_sub(again));
        for index in 0..CARRY / 8 {
            self.direction.window.words[index as usize] = window.eight(window.start + index * 8);
        }
        self.direction.window.end = earlier;
    }
}
