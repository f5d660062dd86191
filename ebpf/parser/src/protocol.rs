//! What the parsers of HTTP/1 and HTTP/2 have in common, for the code that feeds them with segments.

use crate::{
    conn::Conn,
    direction::{Direction, Segment, Side, flag},
    http1::{self, Step},
    http2::{self, Http2},
    packet::{Meter, Packet},
};

/// A connection and the protocol in which it is read: [`Conn`] in HTTP/1, [`Http2`] in HTTP/2.
pub trait Protocol {
    /// Returns the parser state of one direction.
    fn direction(&mut self, side: Side) -> &mut Direction;

    /// Returns whether the next step needs the code for overflow tables (see [`Http2::needs_overflow`]).
    fn needs_overflow(&self) -> bool;

    /// Takes one step through a segment, with the code for unusual messages. Returns whether there may be more to read
    /// in the segment.
    fn step<P: Packet, M: Meter>(
        &mut self,
        side: Side,
        packet: &P,
        meter: &mut M,
        segment: Segment,
    ) -> bool;

    /// Acts on what the steps through a segment have found. Called once, after all steps.
    fn leave<M: Meter>(&mut self, side: Side, meter: &mut M);

    /// Makes the connection opaque, because this direction cannot be read.
    #[inline(always)]
    fn give_up<M: Meter>(&mut self, side: Side, meter: &mut M) {
        self.direction(side).flags |= flag::UNREADABLE;
        self.leave(side, meter);
    }
}

impl Protocol for Conn {
    #[inline(always)]
    fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Requests => &mut self.requests,
            Side::Responses => &mut self.responses,
        }
    }

    #[inline(always)]
    fn needs_overflow(&self) -> bool {
        false
    }

    #[inline(always)]
    fn step<P: Packet, M: Meter>(
        &mut self,
        side: Side,
        packet: &P,
        meter: &mut M,
        segment: Segment,
    ) -> bool {
        http1::step::<true, _, _>(side, self, packet, meter, segment) == Step::More
    }

    #[inline(always)]
    fn leave<M: Meter>(&mut self, side: Side, meter: &mut M) {
        http1::leave(side, self, meter);
    }
}

impl Protocol for Http2 {
    #[inline(always)]
    fn direction(&mut self, side: Side) -> &mut Direction {
        &mut self.way(side).direction
    }

    #[inline(always)]
    fn needs_overflow(&self) -> bool {
        self.needs_overflow()
    }

    #[inline(always)]
    fn step<P: Packet, M: Meter>(
        &mut self,
        side: Side,
        packet: &P,
        meter: &mut M,
        segment: Segment,
    ) -> bool {
        http2::step(side, self, packet, meter, segment)
    }

    #[inline(always)]
    fn leave<M: Meter>(&mut self, side: Side, meter: &mut M) {
        http2::leave(side, self, meter);
    }
}
