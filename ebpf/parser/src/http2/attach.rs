//! HTTP/2 on a connection that was open before its cgroup was counted.
//!
//! Each direction is read from a segment on that begins with the head of a frame. The client's direction must begin
//! with HEADERS, so that a stream begins there, and may begin only if no end of that stream can be missed: the server's
//! direction is read already, or the client has acknowledged all bytes of the server. Until then, the connection counts
//! as one request in flight, and is opaque.
//!
//! Bias: streams that were open before are not counted, unless the client ends one with trailers. The sender's table of
//! header fields is not known: a field that the sender took from that table has no meaning (see [`super::table`]), so a
//! probe can be counted as a request, and a response can have no status. Failure mode: if the server's first segment
//! after the client's HEADERS does not begin with the head of a frame, the connection becomes opaque until it closes.

use ebb_abi::{ended, event};

use super::{
    Http2,
    life::{ATTACHING, CLOSED, OPAQUE},
};
use crate::{
    conn::{Conn, state},
    direction::flag,
    packet::{Gauge, Meter},
};

impl Http2 {
    /// Counts the connection as one request in flight, until a stream can be recognised. Returns `false` if it counts
    /// already. Called by ingress.
    #[inline(always)]
    pub fn begin_attaching<M: Meter>(&mut self, meter: &mut M) -> bool {
        let lock = &raw mut self.lock;
        let first = meter.locked(lock, || {
            let first = self.state & (CLOSED | OPAQUE | ATTACHING) == 0;
            if first {
                self.state |= ATTACHING;
            }
            first
        });
        if first {
            let now = meter.now();
            meter.start(1, now);
            meter.gauge(Gauge::Opaque, 1);
            meter.note(event::ATTACH_FAILED);
        }
        first
    }

    /// Returns whether the client's data is read.
    #[inline(always)]
    pub fn reads_requests(&self) -> bool {
        self.requests.direction.has(flag::START_LINE)
    }

    /// Returns whether the server's data is read.
    #[inline(always)]
    pub fn reads_responses(&self) -> bool {
        self.responses.direction.has(flag::START_LINE)
    }

    /// Begins to read the client's data at a head of a frame, with this sequence number. Returns whether the connection
    /// counted as one request in flight before. Called by ingress.
    #[inline(always)]
    pub fn attach_requests<M: Meter>(&mut self, meter: &mut M, next: u32) -> bool {
        // This is first: if egress makes the connection opaque at the same time, it must see that streams can be in
        // flight.
        self.requests.direction.open_at(next);
        let lock = &raw mut self.lock;
        let attaching = meter.locked(lock, || {
            let attaching = self.state & (CLOSED | OPAQUE | ATTACHING) == ATTACHING;
            if attaching {
                self.state &= !ATTACHING;
            }
            attaching
        });
        if attaching {
            let now = meter.now();
            meter.gauge(Gauge::Opaque, u64::MAX);
            meter.end(ended::OPAQUE, 1, now);
            meter.note(event::RESUMED);
        }
        attaching
    }

    /// Begins to read the server's data at a head of a frame, with this sequence number. Called by egress.
    #[inline(always)]
    pub fn attach_responses(&mut self, next: u32) {
        self.responses.direction.open_at(next);
    }

    /// Ends the search for the heads of frames, if both directions are read, or if the connection is opaque for good.
    /// Called by ingress and egress, after their own change: the lock is a barrier, so the later one sees both changes.
    #[inline(always)]
    pub fn end_attaching<M: Meter>(&self, conn: &mut Conn, meter: &M) {
        let lock = &raw mut conn.lock;
        meter.locked(lock, || {
            if (self.reads_requests() && self.reads_responses()) || !self.is_read() {
                conn.state &= !state::ATTACHING;
            }
        });
    }
}
