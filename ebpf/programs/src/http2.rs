//! Handles a packet of an HTTP/2 connection, in either direction.

use aya_ebpf::{bindings::bpf_sock, programs::SkBuffContext};
use ebb_abi::{egress, event, ingress};
use ebb_parser::{
    conn::{Conn, state},
    direction::{Segment, Side, flag},
    http2::{Http2, arrive, is_out_of_order, leave, step},
    protocol::Protocol,
    steps as budget,
};

use crate::{
    maps::{connection, go_on_in, http2, make_http2},
    meter::Pod,
    segment::{Header, SkbPacket},
    sockets::count_out,
    traffic::stop,
};

/// Counts the streams that begin or end in a packet. For programs that are called by a tail call.
#[inline(always)]
pub fn run<const OVERFLOW: bool>(
    context: &SkBuffContext,
    side: Side,
    steps: impl Fn(Side, &mut Http2, &SkbPacket<'_>, &mut Pod<OVERFLOW>, Segment) -> bool,
) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(connection) = connection(header.socket) else {
        return;
    };
    // SAFETY: socket storage lives as long as the socket; a lock guards the fields that both directions write.
    let connection = unsafe { &mut *connection };
    let Some(pod) = Pod::of(connection.slot) else {
        return;
    };
    packet(context, side, connection, &mut pod.again(), header, steps);
}

/// Counts the streams that begin or end in a packet. The function `steps` parses the segment, and returns whether more
/// of the segment must be read.
#[inline(always)]
pub fn packet<const OVERFLOW: bool>(
    context: &SkBuffContext,
    side: Side,
    connection: &mut Conn,
    pod: &mut Pod<OVERFLOW>,
    header: Header,
    steps: impl Fn(Side, &mut Http2, &SkbPacket<'_>, &mut Pod<OVERFLOW>, Segment) -> bool,
) {
    let mut plain: Pod = pod.again();
    let Some(http2) = http2(header.socket) else {
        return stop(context, side, connection, &plain);
    };
    // SAFETY: socket storage lives as long as the socket; a lock guards the fields that both directions write.
    let http2 = unsafe { &mut *http2 };
    let with_overflow = match side {
        Side::Requests => ingress::HTTP2_INGRESS_OVERFLOW,
        Side::Responses => egress::HTTP2_EGRESS_OVERFLOW,
    };
    if OVERFLOW {
        if side == Side::Requests {
            http2.free_empty_overflow(pod);
        }
    } else if http2.has_overflow() {
        go_on_in(context, side, with_overflow);
        http2.way(side).direction.flags |= flag::UNREADABLE;
    }
    if side == Side::Responses {
        pod.sends(context, &mut http2.way(side).direction.stamp);
        if http2.responses.direction.flags == 0 {
            http2.follow(connection);
        }
    }
    let packet = SkbPacket {
        context,
        slot: connection.slot,
    };
    let segment = http2.way(side).direction.arrived(header.segment);
    let is_next = http2.way(side).direction.is_next(segment);
    if is_next {
        http2.way(side).begin_packet();
    }
    if side == Side::Requests && !is_next && is_out_of_order(side, http2, segment) {
        go_on_in(context, side, ingress::OUT_OF_ORDER_STORE);
    }
    if is_next || arrive(side, http2, segment) {
        if steps(side, http2, &packet, pod, segment) {
            http2.way(side).direction.flags |= flag::UNFINISHED;
            if OVERFLOW || http2.needs_overflow() {
                go_on_in(context, side, with_overflow);
            }
            let rest = match side {
                Side::Requests => ingress::HTTP2_INGRESS_LOOP,
                Side::Responses => egress::HTTP2_EGRESS_LOOP,
            };
            go_on_in(context, side, rest);
            http2.way(side).direction.flags |= flag::UNREADABLE;
        }
        if side == Side::Responses && http2.refuses(pod) {
            // Before bytes of the same packet make the connection opaque: the count must not depend on how packets cut
            // the bytes.
            go_on_in(context, side, egress::HTTP2_GOAWAY_LOOP);
        }
        leave(side, http2, pod);
        if side == Side::Requests && connection.serialisation.has_buffered() {
            go_on_in(context, side, ingress::HTTP2_DRAIN_LOOP);
        }
    }
    end_packet(context, side, connection, http2, &mut plain, segment.flags);
}

/// Ends the work on a packet with these TCP flags: handles the server's last byte, and reports an opaque connection.
#[inline(always)]
fn end_packet(
    context: &SkBuffContext,
    side: Side,
    connection: &mut Conn,
    http2: &mut Http2,
    pod: &mut Pod,
    flags: u32,
) {
    if side == Side::Responses && flags & (Segment::FIN | Segment::RST) != 0 {
        http2.finish(pod);
        count_out(connection, pod, state::SENT_LAST);
    }
    if http2.has_become_opaque() {
        connection.happened(event::UNREADABLE);
    }
    stop(context, side, connection, pod);
}

/// Continues, by a tail call, in the HTTP/2 program for the direction of the packet.
#[inline(always)]
pub fn go_on(context: &SkBuffContext, side: Side, connection: &mut Conn, pod: &Pod) {
    let program = match side {
        Side::Requests => ingress::HTTP2_INGRESS_LOOP,
        Side::Responses => egress::HTTP2_EGRESS_LOOP,
    };
    go_on_in(context, side, program);
    stop(context, side, connection, pod);
}

/// Parses a segment, with as many steps as one run can take. Returns `true` if more of the segment must be read: a
/// packet of 64 KiB can need thousands of steps. [`crate::loops`] or another run of this program reads the rest.
#[inline(always)]
pub fn steps<const OVERFLOW: bool>(
    side: Side,
    http2: &mut Http2,
    packet: &SkbPacket<'_>,
    pod: &mut Pod<OVERFLOW>,
    segment: Segment,
) -> bool {
    // The code for overflow tables makes each step longer.
    let most = if OVERFLOW {
        budget::HTTP2_OVERFLOW
    } else {
        budget::HTTP2
    };
    for _ in 0..most {
        if !step(side, http2, packet, pod, segment) {
            return false;
        }
    }
    true
}

/// A connection whose protocol may change to HTTP/2.
pub trait MayChange: Protocol {
    /// Turns the connection into an HTTP/2 connection, if the parser has found that HTTP/2 follows. Returns whether the
    /// connection has changed. If it must change and cannot, because the kernel has no memory for the HTTP/2 state, for
    /// example, this direction becomes unreadable.
    fn changes(&mut self, side: Side, pod: &mut Pod, socket: *mut bpf_sock) -> bool;
}

impl MayChange for Conn {
    #[inline(always)]
    fn changes(&mut self, side: Side, pod: &mut Pod, socket: *mut bpf_sock) -> bool {
        if !self.direction(side).has(flag::HTTP2) {
            return false;
        }
        if let Some(http2) = make_http2(socket)
            // SAFETY: socket storage lives as long as the socket; a lock guards the fields that both directions write.
            && unsafe { &mut *http2 }.take_over(side, self, pod)
        {
            return true;
        }
        self.direction(side).flags |= flag::UNREADABLE;
        self.direction(side).flags &= !flag::HTTP2;
        false
    }
}

impl MayChange for Http2 {
    #[inline(always)]
    fn changes(&mut self, _side: Side, _pod: &mut Pod, _socket: *mut bpf_sock) -> bool {
        false
    }
}

/// Returns the headers of a packet, its connection with the HTTP/2 state, and the pod. Returns `None` if the connection
/// is not counted, or has no HTTP/2 state.
#[inline(always)]
pub fn counted<'a>(context: &SkBuffContext) -> Option<(Header, &'a mut Conn, &'a mut Http2, Pod)> {
    let header = Header::read(context)?;
    let (connection, http2) = (connection(header.socket)?, http2(header.socket)?);
    // SAFETY: socket storage lives as long as the socket; a lock guards the fields that both directions write.
    let (connection, http2) = unsafe { (&mut *connection, &mut *http2) };
    let pod = Pod::of(connection.slot)?;
    Some((header, connection, http2, pod))
}

/// Ends the streams that the server has refused with GOAWAY, and then the work on the packet. The function `end_all`
/// ends the streams.
#[inline(always)]
pub fn goaway(
    context: &SkBuffContext,
    end_all: impl Fn(&SkBuffContext, &mut Http2, &mut Pod<true>),
) {
    let Some((header, connection, http2, mut pod)) = counted(context) else {
        return;
    };
    end_all(context, http2, &mut pod.again());
    leave(Side::Responses, http2, &mut pod);
    let flags = header.segment.flags;
    end_packet(context, Side::Responses, connection, http2, &mut pod, flags);
}

/// Ends the newest stream that the server has refused, and looks for another one in another run of the program.
#[inline(always)]
pub fn end_one_refused(context: &SkBuffContext, http2: &mut Http2, pod: &mut Pod<true>) {
    if http2.end_newest_refused(pod) {
        go_on_in(context, Side::Responses, egress::HTTP2_GOAWAY_LOOP);
    }
}
